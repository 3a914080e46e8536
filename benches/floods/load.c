/* Asks static names at a steady rate and floods the same server beside it, from one thread.
 *
 * Arguments: port of 127.0.0.1, seconds, questions a second for static names, the flood, and how much of it: clients of
 * `idle`, `drip` and `unread`, datagrams a second of the others. It prints one line:
 *
 *     sent answered p50 p99 p99.9 most behind flooded
 *
 * Latencies are in microseconds. They begin when a question is handed to the kernel and end with the kernel's own stamp
 * on the reply, so that nothing this program does meanwhile is in them. Questions go out by the clock, whatever has been
 * answered; `behind` is the longest that one was sent after it was due. Whoever is flooded with has an address of its own in
 * 127.0.0.0/8, so that limits for one client are not what is measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    NAMES = 1000,       /* static names: s0 to s999 */
    IDS = 65536,
    SOCKETS = 64,       /* addresses that datagrams are flooded from */
    PER_TURN = 32,      /* of the flood, before the static questions get their turn */
    LAST = 1000 * 1000, /* microseconds that the last replies are waited for */
    AGAIN = 1000 * 1000 /* microseconds until a closed connection is opened anew */
};

struct client {
    int fd;
    int asks;     /* whether an idle one asks once before */
    int64_t next; /* when it does something again */
};

static int64_t sent_at[IDS]; /* in nanoseconds; 0 for what is answered */
static float *latencies;
static size_t answered;
static int port, meter, poller;
static int flooders[SOCKETS];
static uint64_t state = 0x9e3779b97f4a7c15;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static struct sockaddr_in server(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A socket at 127.`net`.`number`, which is not connected. */
static int socket_from(int type, int net, int number) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(127u << 24 | net << 16 | (number + 1));
    /* The port is found by connect(), which has all of them for each peer. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
    return fd;
}

/* Writes a question for a name below example.com; returns its length. */
static int question(unsigned char *octets, uint16_t id, const char *label, int type) {
    static const unsigned char rest[] = "\7example\3com";
    int length = strlen(label), at = 12;
    memcpy(octets, (unsigned char[]){id >> 8, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 12);
    octets[at++] = length;
    memcpy(octets + at, label, length);
    memcpy(octets + at + length, rest, sizeof rest);
    at += length + sizeof rest;
    memcpy(octets + at, (unsigned char[]){0, type, 0, 1}, 4);
    return at + 4;
}

static void ask_static(uint64_t number) {
    unsigned char octets[64];
    char label[16];
    snprintf(label, sizeof label, "s%d", (int)(number % NAMES));
    int length = question(octets, number, label, 1);
    sent_at[number % IDS] = now_ns();
    if (send(meter, octets, length, 0) < 0) sent_at[number % IDS] = 0;
}

/* Takes a reply to a static question, if there is one. */
static int take_reply(size_t latencies_max) {
    unsigned char octets[512], control[64];
    struct iovec part = {octets, sizeof octets};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(meter, &header, 0) < 12) return 0;
    struct cmsghdr *stamp = CMSG_FIRSTHDR(&header);
    int id = octets[0] << 8 | octets[1];
    /* Only an answer counts as one. */
    if (stamp && sent_at[id] && (octets[3] & 15) == 0 && octets[7] > 0 && answered < latencies_max) {
        struct timespec at;
        memcpy(&at, CMSG_DATA(stamp), sizeof at);
        latencies[answered++] = (at.tv_sec * 1000000000LL + at.tv_nsec - sent_at[id]) / 1000.0f;
    }
    sent_at[id] = 0;
    return 1;
}

/* Writes a datagram of a flood; returns its length. */
static int flood_datagram(const char *flood, unsigned char *octets) {
    char label[32];
    int malformed = !strcmp(flood, "malformed");
    if (!strcmp(flood, "nxdomain")) snprintf(label, sizeof label, "x%llx", (unsigned long long)draw());
    else if (!strcmp(flood, "wildcard")) snprintf(label, sizeof label, "%llx\4wild", (unsigned long long)draw());
    else snprintf(label, sizeof label, "%s", malformed ? "s1" : flood);
    char *below = strchr(label, 4);
    int length = question(octets, draw(), label, 1);
    if (below) octets[12] = below - label; /* two labels were written as one */
    if (!malformed) return length;
    switch (draw() % 5) {
    case 0: /* noise */
        length = draw() % 100;
        for (int i = 0; i < length; i++) octets[i] = draw();
        return length;
    case 1: return draw() % length; /* cut off */
    case 2: /* a bit or more of it is another */
        for (int i = draw() % 8; i >= 0; i--) octets[2 + draw() % (length - 2)] ^= 1 << draw() % 8;
        return length;
    case 3: /* a name that leads to itself */
        octets[12] = 0xc0;
        octets[13] = 12;
        return length;
    default: /* records are announced that are not there */
        octets[5 + 2 * (draw() % 4)] = 1 + draw() % 255;
        octets[2] |= draw() % 2 << 7;
        return length;
    }
}

static void send_flood(const char *flood, int count) {
    static unsigned char octets[PER_TURN][128];
    static struct iovec parts[PER_TURN];
    static struct mmsghdr headers[PER_TURN];
    for (int i = 0; i < count; i++) {
        parts[i] = (struct iovec){octets[i], flood_datagram(flood, octets[i])};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    /* What comes back is not read: the kernel throws it away. */
    sendmmsg(flooders[draw() % SOCKETS], headers, count, 0);
}

static void connect_client(struct client *client, int number, const char *flood) {
    client->fd = socket_from(SOCK_STREAM, 1, number);
    int unread = !strcmp(flood, "unread");
    if (unread) setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct sockaddr_in to = server();
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) fail("connect");
    struct epoll_event event = {.events = EPOLLRDHUP | (unread ? EPOLLOUT : 0), .data.u32 = number};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) < 0) fail("epoll_ctl");
    client->asks = number % 2;
    client->next = now_ns() + 1000 * (draw() % AGAIN);
}

/* What a client does when its time has come: it is opened, asks once, or sends one more octet. */
static void serve_client(struct client *client, int number, const char *flood, int64_t now) {
    unsigned char octets[66] = {0};
    if (client->fd < 0) return connect_client(client, number, flood);
    if (!strcmp(flood, "drip")) {
        /* 255 octets of a message that is never whole within any timeout. */
        send(client->fd, "\377", 1, MSG_NOSIGNAL);
    } else if (!strcmp(flood, "idle") && client->asks) {
        octets[1] = question(octets + 2, number, "s1", 1);
        send(client->fd, octets, 2 + octets[1], MSG_NOSIGNAL);
        client->asks = 0;
    }
    client->next = now + 1000LL * AGAIN;
}

/* Tends to clients: those that were closed come again, those of `unread` ask for as much as they can. */
static void tend(struct client *clients) {
    struct epoll_event events[PER_TURN];
    int count = epoll_wait(poller, events, PER_TURN, 0);
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[events[i].data.u32];
        if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
            close(client->fd);
            client->fd = -1;
            client->next = now_ns() + 1000LL * AGAIN;
        } else {
            unsigned char octets[64 * 32];
            int length = 0;
            for (int j = 0; j < 32; j++) {
                int more = question(octets + length + 2, j, "big", 16);
                octets[length] = 0;
                octets[length + 1] = more;
                length += 2 + more;
            }
            send(client->fd, octets, length, MSG_NOSIGNAL);
        }
    }
}

static int ascending(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static float quantile(double share) {
    return answered ? latencies[(size_t)(share * (answered - 1))] : 0;
}

static void open_meter(void) {
    struct sockaddr_in to = server();
    meter = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(meter, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    setsockopt(meter, SOL_SOCKET, SO_RCVBUF, &(int){4 << 20}, sizeof(int));
    if (connect(meter, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
}

static void open_flooders(void) {
    struct sockaddr_in to = server();
    for (int i = 0; i < SOCKETS; i++) {
        flooders[i] = socket_from(SOCK_DGRAM, 2, i);
        setsockopt(flooders[i], SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
        if (connect(flooders[i], (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return fputs("usage: load PORT SECONDS RATE FLOOD AMOUNT\n", stderr), 2;
    port = atoi(argv[1]);
    double seconds = atof(argv[2]), rate = atof(argv[3]), amount = atof(argv[5]);
    const char *flood = argv[4];
    int is_stream = !strcmp(flood, "idle") || !strcmp(flood, "drip") || !strcmp(flood, "unread");
    size_t total = seconds * rate, number = 0, flooded = 0;
    int count = is_stream ? amount : 0, turn = 0;
    struct client *clients = calloc(count + 1, sizeof *clients);
    latencies = calloc(total + 1, sizeof *latencies);
    poller = epoll_create1(0);
    open_meter();
    open_flooders();

    int64_t begin = now_ns(), behind = 0, now;
    for (int i = 0; i < count; i++) clients[i] = (struct client){-1, 0, begin + 1000LL * (draw() % AGAIN)};
    int64_t end = begin + (int64_t)(seconds * 1e9);
    while ((now = now_ns()) < end + 1000LL * LAST) {
        int64_t due = begin + (int64_t)(number / rate * 1e9);
        if (number < total && now >= due) {
            if (now - due > behind) behind = now - due;
            ask_static(number++);
        }
        while (take_reply(total)) {}
        if (now >= end) continue;
        for (int i = 0; i < PER_TURN && count; i++, turn = (turn + 1) % count)
            if (clients[turn].next <= now) serve_client(&clients[turn], turn, flood, now), flooded++;
        if (count) tend(clients);
        if (!is_stream && amount > 0) {
            int64_t more = (now - begin) / 1e9 * amount - flooded;
            if (more > PER_TURN) more = PER_TURN;
            if (more > 0) send_flood(flood, more), flooded += more;
        }
    }
    qsort(latencies, answered, sizeof *latencies, ascending);
    printf("%zu %zu %.1f %.1f %.1f %.1f %.1f %zu\n", total, answered, quantile(0.5), quantile(0.99), quantile(0.999),
           quantile(1), behind / 1000.0, flooded);
}
