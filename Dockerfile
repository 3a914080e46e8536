# perigee in a container: built on Debian bookworm, run on its slim form. Needs no BuildKit.
#
#   docker build --tag perigee .
#   docker run --publish 15353:5353/udp --publish 15353:5353/tcp --volume "$PWD/zones:/etc/perigee/zones:ro" perigee

FROM rust:1-bookworm AS build
WORKDIR /build

# The dependencies in a layer of their own, which holds until a manifest changes. They are built for an empty crate;
# what came of that crate itself goes, or Cargo would take it for newer than the sources, whose times are older.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
 && touch src/lib.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --release --locked --bin perigee \
 && cargo clean --release --package perigee-dns

COPY lua lua
COPY src src
# Lines in backtraces are worth their sections, which take a fourth of the room when compressed.
RUN cargo build --release --locked --bin perigee \
 && objcopy --compress-debug-sections target/release/perigee


FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="perigee" \
      org.opencontainers.image.description="An authoritative DNS server for global server load balancing whose records can be small Lua scripts" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

RUN useradd --system --uid 5353 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin perigee \
 && mkdir --parents /etc/perigee/zones \
 && install --directory --owner=perigee --group=perigee /var/lib/perigee

# Whom checks by HTTPS with `verify` trust.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY compose/image.toml /etc/perigee/perigee.toml
COPY lua/lib /etc/perigee/lua/lib
COPY --from=build /build/target/release/perigee /usr/local/bin/perigee

# By number, so that Kubernetes can tell that it is not root.
USER 5353
# Where `perigee check` and `perigee health` find the configuration without being told.
WORKDIR /etc/perigee
EXPOSE 5353/udp 5353/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 CMD ["perigee", "health"]
ENTRYPOINT ["perigee"]
CMD ["serve", "--config", "/etc/perigee/perigee.toml"]
