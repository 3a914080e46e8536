#!/usr/bin/env bash
# Holds docker-compose.yml to what it promises: both transports, failover and back, edits, health, user, size, stop.
#
#   tests/compose.sh
#
# Needs an engine, `docker compose` or `docker-compose`, and dig. Works on a copy of what is mounted, and leaves
# nothing but the images. From the environment:
#
#   DOCKER_BUILD_OPTIONS   more options of `docker build`, such as `--network host` or `--build-arg http_proxy=…`
#   PERIGEE_PORT           the port on the host, 15353 if not given
set -euo pipefail
cd "$(dirname "$0")/.."

export PERIGEE_PORT=${PERIGEE_PORT:-15353}
# The image may have 150 MB, of which the public debian:bookworm-slim takes 75.
readonly OWN_MEGABYTES_MAX=75
# A failing target is down after its interval and its timeout; the rest is for the machine.
readonly FAILOVER_SECONDS=$((1 + 1 + 1))
readonly EDIT_SECONDS=1

main() {
    build
    start
    echo "== answers by both transports"
    for transport in +notcp +tcp; do
        expect "$transport random.example.com" '1.2.3.4|4.3.2.1'
        # Which branch depends on the address from which the engine forwards.
        expect "$transport src.example.com" '192.168.1.54|192.0.2.1'
        expect "$transport src-rand.example.com" '1.2.3.4|1.2.3.5|4.3.2.1|4.3.2.2'
    done

    echo "== failover"
    expect www.failover.example 172.30.53.11
    expect all.failover.example '172.30.53.11 172.30.53.12'
    compose stop east
    within $FAILOVER_SECONDS www.failover.example 172.30.53.12
    within $FAILOVER_SECONDS all.failover.example 172.30.53.12
    compose start east
    within $FAILOVER_SECONDS www.failover.example 172.30.53.11
    echo maintenance > "$work/compose/east/index.html"
    within $FAILOVER_SECONDS www.failover.example 172.30.53.12
    echo 'all is well' > "$work/compose/east/index.html"
    within $FAILOVER_SECONDS www.failover.example 172.30.53.11

    echo "== edits on the host"
    local zone=$work/zones/example.com.zone
    echo 'added IN A 192.0.2.77' >> "$zone"
    within $EDIT_SECONDS added.example.com 192.0.2.77
    # As editors do: a new file takes the name of the old one.
    sed s/192.0.2.77/192.0.2.78/ "$zone" > "$zone~"
    mv "$zone~" "$zone"
    within $EDIT_SECONDS added.example.com 192.0.2.78
    echo 'broken IN A nonsense' >> "$zone"
    eventually 5 logged 'zone refused, the old one serves on'
    expect added.example.com 192.0.2.78

    echo "== health"
    docker exec "$perigee" perigee health
    if docker exec "$perigee" perigee health 127.0.0.1:1; then
        fail "a closed port passes for healthy"
    fi

    echo "== user and size"
    local user own
    user=$(docker top "$perigee" -o pid,uid | awk 'END { print $2 }')
    [[ $user != 0 ]] || fail "it runs as root"
    own=$((($(size perigee) - $(size debian:bookworm-slim)) / 1000000))
    echo "user $user, $own MB above the base image's $(($(size debian:bookworm-slim) / 1000000)) MB"
    ((own <= OWN_MEGABYTES_MAX)) || fail "the image adds more than $OWN_MEGABYTES_MAX MB to its base"

    echo "== stop"
    local before=$SECONDS code
    docker stop --time 10 "$perigee" > /dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' "$perigee")
    echo "exit code $code after $((SECONDS - before)) s"
    [[ $code == 0 ]] || fail "a stop ends with exit code $code"
    echo "all is well"
}

build() {
    echo "== build"
    # The options are words, as on a command line.
    # shellcheck disable=SC2086
    docker build --quiet ${DOCKER_BUILD_OPTIONS:-} --tag perigee .
    # shellcheck disable=SC2086
    docker build --quiet ${DOCKER_BUILD_OPTIONS:-} --tag perigee-backend compose/backend
}

start() {
    echo "== start"
    local begin=$SECONDS
    work=$(mktemp --directory)
    trap clean_up EXIT
    # The container's user reads it too.
    chmod 755 "$work"
    cp --recursive docker-compose.yml compose lua zones "$work"
    compose up --detach --no-build
    perigee=$(compose ps --quiet perigee)
    eventually 30 healthy
    echo "healthy after $((SECONDS - begin)) s"
}

clean_up() {
    local code=$?
    if ((code != 0)); then
        compose logs --tail 50 perigee || true
    fi
    compose down --timeout 5 > /dev/null 2>&1 || true
    rm -r "$work"
}

compose() {
    local command=(docker-compose)
    if docker compose version > /dev/null 2>&1; then
        command=(docker compose)
    fi
    "${command[@]}" --project-name perigee-test --file "$work/docker-compose.yml" "$@"
}

# The addresses that answer a question, in order, on one line.
ask() {
    # The question may be several words: options and a name.
    # shellcheck disable=SC2086
    dig @localhost -p "$PERIGEE_PORT" +short +time=1 +tries=2 $1 | sort | paste --serial --delimiters ' '
}

# Asks once and compares with a pattern.
expect() {
    local answer
    answer=$(ask "$1")
    echo "$1: $answer"
    [[ $answer =~ ^($2)$ ]] || fail "$1 is answered by '$answer', not by '$2'"
}

# Asks until the answer is as expected, for so many seconds.
within() {
    local begin=$EPOCHREALTIME
    eventually "$1" answers "$2" "$3"
    echo "$2: $3 after $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms"
}

answers() { [[ $(ask "$1") == "$2" ]]; }

healthy() { [[ $(docker inspect --format '{{.State.Health.Status}}' "$perigee") == healthy ]]; }

logged() { docker logs "$perigee" 2>&1 | grep "$1" > /dev/null; }

# Tries a command until it succeeds, for so many seconds.
eventually() {
    local seconds=$1 end
    shift
    end=$((${EPOCHREALTIME/./} + seconds * 1000000))
    until "$@"; do
        ((${EPOCHREALTIME/./} < end)) || fail "not within $seconds s: $*"
        sleep 0.05
    done
}

size() { docker image inspect --format '{{.Size}}' "$1"; }

fail() {
    echo "compose.sh: $1" >&2
    exit 1
}

main
