/* The floor: a UDP server that sends every datagram back with its QR bit set, and nothing else.
 *
 * What it costs is what the kernel takes to bring a query in and a response of the same size out, in batches, as
 * any server must. Its one argument is the port, of 127.0.0.1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS_MAX = 4096 };

static unsigned char octets[BATCH][OCTETS_MAX];
static struct sockaddr_in peers[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr headers[BATCH];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Takes what has come, waiting for the first; returns how many datagrams. */
static int receive(int udp) {
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){.iov_base = octets[i], .iov_len = OCTETS_MAX};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(udp, headers, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EINTR) fail("recvmmsg");
    return count < 0 ? 0 : count;
}

/* Sends the first `count` datagrams back. */
static void reply(int udp, int count) {
    for (int i = 0; i < count; i++) {
        parts[i].iov_len = headers[i].msg_len;
        if (parts[i].iov_len > 2) octets[i][2] |= 0x80;
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(udp, headers + sent, count - sent, 0);
        if (more < 0 && errno != EINTR) fail("sendmmsg");
        if (more > 0) sent += more;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return fputs("usage: echo PORT\n", stderr), 2;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (udp < 0 || bind(udp, (struct sockaddr *)&local, sizeof local) < 0) fail("bind");
    for (;;) reply(udp, receive(udp));
}
