/* A proxy in front of a redis_server that fails at the worst moment. One connection at a time, its own thread. */
#ifndef UPT_TEST_PROXY_H
#define UPT_TEST_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef enum proxy_mode {
    PROXY_PASS,
    PROXY_DROP_EXEC_REPLY, /* once: EXEC is carried out, but the connection ends before its reply */
    PROXY_HOLD_MULTI,      /* once: what begins with MULTI is held until released */
    PROXY_HOLD_EXEC_REPLY, /* once: EXEC is carried out, its reply is held until released */
} proxy_mode;

struct proxy {
    char url[64];
    int listen_fd, server_port;
    pthread_t thread;
    bool started;
    atomic_int mode;  /* a proxy_mode; back to PROXY_PASS when it has happened */
    atomic_bool held; /* something is being held */
    atomic_bool release, stop;
};

bool proxy_start(struct proxy *proxy, int server_port);
void proxy_end(struct proxy *proxy); /* nothing if it was not started */

#endif
