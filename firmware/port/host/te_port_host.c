/* te_port_host.c - the firmware as a process: the link is a TCP connection on the loopback.
 *
 * Prints "port N" once it listens, serves the first connection, and ends when the peer closes it or
 * when standard input does: whoever started it holds the other end, so it cannot be orphaned.
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "te_port.h"

enum { TE_HOST_BUFFER = 2048 };

static struct {
    int link;
    uint32_t count;
    uint8_t bytes[TE_HOST_BUFFER]; /* written but not sent: one send per frame, not per block */
} te_host = {-1, 0u, {0u}};

static void te_host_fail(const char *what)
{
    (void)fprintf(stderr, "te_port_host: %s: %s\n", what, strerror(errno));
    exit(3);
}

/* Waits until `fd` can be read. Standard input is watched too: its end means "stop". */
static void te_host_wait(int fd)
{
    for (;;) {
        struct pollfd watched[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (poll(watched, 2, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            te_host_fail("poll");
        }
        if (watched[1].revents != 0) {
            char ignored[64];
            if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) {
                exit(0);
            }
        }
        if (watched[0].revents != 0) {
            return;
        }
    }
}

void te_port_init(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    const int one = 1;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        te_host_fail("cannot listen on 127.0.0.1");
    }
    (void)printf("port %u\n", (unsigned)ntohs(address.sin_port));
    (void)fflush(stdout);
    te_host_wait(listener);
    te_host.link = accept(listener, NULL, NULL);
    if (te_host.link < 0) {
        te_host_fail("accept");
    }
    (void)close(listener);
    (void)setsockopt(te_host.link, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void te_host_flush(void)
{
    uint32_t sent = 0u;
    while (sent < te_host.count) {
        const ssize_t n =
            send(te_host.link, te_host.bytes + sent, te_host.count - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            exit(0); /* the peer is gone */
        }
        sent += n > 0 ? (uint32_t)n : 0u;
    }
    te_host.count = 0u;
}

uint32_t te_port_read(uint8_t *bytes, uint32_t capacity)
{
    te_host_flush();
    te_host_wait(te_host.link);
    const ssize_t n = recv(te_host.link, bytes, capacity, 0);
    return n > 0 ? (uint32_t)n : 0u;
}

void te_port_write(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0u; i < count; i++) {
        if (te_host.count == (uint32_t)TE_HOST_BUFFER) {
            te_host_flush();
        }
        te_host.bytes[te_host.count] = bytes[i];
        te_host.count++;
    }
}

uint32_t te_port_ticks(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec);
}

te_tick_unit te_port_tick_unit(void)
{
    return TE_TICK_NS;
}
