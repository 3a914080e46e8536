/* Many targets in one process: every address of a range, on one port, accepts connections and answers HTTP requests.
 *
 * usage: targets PORT FIRST COUNT http|tcp
 *
 * A target is asked when a request is read, or for `tcp` when a connection is taken. What is read from standard input:
 *
 *   fail    targets whose number is even answer 503 from now on
 *   pass    all answer 200 again
 *   reset   begins to count anew
 *   count   prints how often targets were asked, how many were, and the longest time in milliseconds that any was not
 *
 * It ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, OCTETS_MAX = 8192, CONNECTIONS_MAX = 1 << 16 };

static const char PASS[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
static const char FAIL[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nno";

static uint32_t first, count;
static int is_http, is_failing;
static uint64_t asked, longest, begun;
static uint64_t *last;
static uint32_t number_of[CONNECTIONS_MAX];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Counts that a target is asked. */
static void note(uint32_t number) {
    uint64_t at = now(), since = at - (last[number] ? last[number] : begun);
    if (since > longest) longest = since;
    last[number] = at;
    asked++;
}

static void accept_all(int listener, int events) {
    for (;;) {
        int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) return;
        struct sockaddr_in local;
        socklen_t length = sizeof local;
        getsockname(socket, (struct sockaddr *)&local, &length);
        uint32_t number = ntohl(local.sin_addr.s_addr) - first;
        if (socket >= CONNECTIONS_MAX || number >= count) {
            close(socket);
            continue;
        }
        number_of[socket] = number;
        if (!is_http) note(number);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = socket};
        if (epoll_ctl(events, EPOLL_CTL_ADD, socket, &event) < 0) close(socket);
    }
}

/* Answers a request, which comes in one piece here; closes what the other side has closed. */
static void serve(int socket) {
    static char octets[OCTETS_MAX];
    ssize_t length = read(socket, octets, sizeof octets);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN) close(socket);
        return;
    }
    if (!is_http || !memmem(octets, length, "\r\n\r\n", 4)) return;
    note(number_of[socket]);
    int fails = is_failing && number_of[socket] % 2 == 0;
    const char *reply = fails ? FAIL : PASS;
    if (write(socket, reply, fails ? sizeof FAIL - 1 : sizeof PASS - 1) < 0) close(socket);
}

static void report(void) {
    uint32_t seen = 0;
    uint64_t at = now(), most = longest;
    for (uint32_t number = 0; number < count; number++) {
        uint64_t since = at - (last[number] ? last[number] : begun);
        if (since > most) most = since;
        seen += last[number] != 0;
    }
    printf("%lu %u %.1f\n", asked, seen, most / 1e3);
    fflush(stdout);
}

static void obey(void) {
    static char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (!strcmp(line, "fail\n")) is_failing = 1;
    if (!strcmp(line, "pass\n")) is_failing = 0;
    if (!strcmp(line, "count\n")) report();
    if (!strcmp(line, "reset\n")) {
        memset(last, 0, count * sizeof *last);
        asked = longest = 0;
        begun = now();
    }
}

int main(int argc, char **argv) {
    struct in_addr address;
    if (argc != 5 || !inet_aton(argv[2], &address)) return fputs("usage: targets PORT FIRST COUNT http|tcp\n", stderr), 2;
    first = ntohl(address.s_addr);
    count = atoi(argv[3]);
    is_http = !strcmp(argv[4], "http");
    last = calloc(count, sizeof *last);
    begun = now();
    setvbuf(stdin, NULL, _IONBF, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&local, sizeof local) < 0 || listen(listener, 4096) < 0) fail("listen");
    int events = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(events, EPOLL_CTL_ADD, 0, &event);
    puts("ready");
    fflush(stdout);
    static struct epoll_event ready[EVENTS];
    for (;;) {
        int many = epoll_wait(events, ready, EVENTS, -1);
        for (int i = 0; i < many; i++) {
            int socket = ready[i].data.fd;
            if (socket == listener) accept_all(listener, events);
            else if (socket == 0) obey();
            else serve(socket);
        }
    }
}
