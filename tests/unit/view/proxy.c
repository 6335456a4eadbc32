/* See proxy.h. Bytes pass unread, but for the two words that the modes look for: the view sends a transaction as one
 * write, so that a chunk begins with MULTI and the one that ends it ends with EXEC. */
#include "proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
loopback(int port, bool listening, int *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    struct sockaddr *at = (struct sockaddr *)&addr;
    bool ok = fd >= 0 && (listening ? bind(fd, at, len) == 0 && listen(fd, 8) == 0 && getsockname(fd, at, &len) == 0
                                    : connect(fd, at, len) == 0);
    if (!ok && fd >= 0) {
        close(fd);
    }
    *ret_port = ntohs(addr.sin_port);
    return ok ? fd : -1;
}

/* One chunk of bytes. False: the end. */
static bool
pass(int from, int to, char *chunk, size_t cap, size_t *ret_len)
{
    ssize_t n = recv(from, chunk, cap, 0);
    for (ssize_t at = 0; at < n;) {
        ssize_t sent = to < 0 ? n : send(to, chunk + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
    }
    *ret_len = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static bool
is_readable(int fd, int timeout_ms)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    return poll(&pfd, 1, timeout_ms) > 0;
}

static void
hold(struct proxy *proxy)
{
    atomic_store(&proxy->mode, PROXY_PASS);
    atomic_store(&proxy->held, true);
    while (!atomic_load(&proxy->release) && !atomic_load(&proxy->stop)) {
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&proxy->held, false);
}

static void
serve(struct proxy *proxy, int client, int server)
{
    static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "$4\r\nEXEC\r\n";
    static char chunk[1 << 16];
    size_t len = 0;
    while (!atomic_load(&proxy->stop)) {
        if (is_readable(client, 1)) {
            bool begins = recv(client, chunk, sizeof(multi) - 1, MSG_PEEK) == (ssize_t)sizeof(multi) - 1 &&
                          memcmp(chunk, multi, sizeof(multi) - 1) == 0;
            if (begins && atomic_load(&proxy->mode) == PROXY_HOLD_MULTI) {
                hold(proxy);
            }
            if (!pass(client, server, chunk, sizeof(chunk), &len)) {
                return;
            }
            bool ends = len > sizeof(exec) && memcmp(chunk + len - sizeof(exec) + 1, exec, sizeof(exec) - 1) == 0;
            if (ends && atomic_load(&proxy->mode) == PROXY_HOLD_EXEC_REPLY && is_readable(server, 5000)) {
                hold(proxy);
            }
            if (ends && atomic_load(&proxy->mode) == PROXY_DROP_EXEC_REPLY) {
                (void)pass(server, -1, chunk, sizeof(chunk), &len);
                atomic_store(&proxy->mode, PROXY_PASS);
                return;
            }
        }
        if (is_readable(server, 0) && !pass(server, client, chunk, sizeof(chunk), &len)) {
            return;
        }
    }
}

static void *
proxy_main(void *arg)
{
    struct proxy *proxy = arg;
    while (!atomic_load(&proxy->stop)) {
        if (!is_readable(proxy->listen_fd, 5)) {
            continue;
        }
        int port;
        int client = accept(proxy->listen_fd, NULL, NULL);
        int server = loopback(proxy->server_port, false, &port);
        if (client >= 0 && server >= 0) {
            serve(proxy, client, server);
        }
        if (client >= 0) {
            close(client);
        }
        if (server >= 0) {
            close(server);
        }
    }
    return NULL;
}

bool
proxy_start(struct proxy *proxy, int server_port)
{
    int port;
    memset(proxy, 0, sizeof(*proxy));
    proxy->server_port = server_port;
    proxy->listen_fd = loopback(0, true, &port);
    snprintf(proxy->url, sizeof(proxy->url), "redis://127.0.0.1:%d", port);
    proxy->started = proxy->listen_fd >= 0 && pthread_create(&proxy->thread, NULL, proxy_main, proxy) == 0;
    return proxy->started;
}

void
proxy_end(struct proxy *proxy)
{
    if (proxy->started) {
        atomic_store(&proxy->stop, true);
        pthread_join(proxy->thread, NULL);
        close(proxy->listen_fd);
        proxy->started = false;
    }
}
