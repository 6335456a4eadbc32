/* A private redis-server for tests: free port, temporary directory, ended with the test. Main thread only. */
#ifndef UPT_TEST_REDIS_SERVER_H
#define UPT_TEST_REDIS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <hiredis/hiredis.h>

#include "aggregate/view/view.h"

struct redis_server {
    char dir[64], url[64];
    int port;
    pid_t pid;
    bool aof; /* every write on disk before its reply */
    redisContext *client;
};

bool redis_server_start(struct redis_server *server); /* also again after redis_server_kill, on the same port */
void redis_server_kill(struct redis_server *server);  /* SIGKILL */
void redis_server_end(struct redis_server *server);   /* and removes the directory */

/* The reply's text (integers too), "(nil)" for none, the error's text for an error; valid until the next call. */
const char *redis_server_ask(struct redis_server *server, const char *fmt, ...) UPT_PRINTF(2, 3);

/* Waits up to 20 s until the condition holds, asking again each 2 ms: no test depends on how long things take. */
bool redis_server_wait(bool (*holds)(void *ctx), void *ctx);

#endif
