/* See redis_server.h. Ports are tried at random from below those that the kernel gives to clients: one that connects
 * again to a server that was killed could be given the server's own. Where another process has a port, the next is
 * tried. */
#include "redis_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uptake/time.h"

#define WAIT_MS 20000 /* UPTAKE_TEST_WAIT_MS says otherwise */
#define PORT_MIN 10000
#define PORTS 10000

static int
some_port(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return PORT_MIN + (int)((uint64_t)(now.tv_nsec / 1000 + getpid() * 7919) % PORTS);
}

static pid_t
spawn(const struct redis_server *server)
{
    char port[16];
    snprintf(port, sizeof(port), "%d", server->port);
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no server behind */
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", server->dir, "--save", "",
           "--appendonly", server->aof ? "yes" : "no", "--appendfsync", "always", (char *)NULL);
    _exit(127);
}

static bool
answers(void *ctx)
{
    struct redis_server *server = ctx;
    const struct timeval timeout = {.tv_sec = 5};
    if (server->client == NULL) {
        server->client = redisConnectWithTimeout("127.0.0.1", server->port, timeout);
    }
    bool ok =
        server->client != NULL && server->client->err == 0 && redisSetTimeout(server->client, timeout) == REDIS_OK;
    char mine[32]; /* and not one that came first to this port */
    snprintf(mine, sizeof(mine), "process_id:%d\r", (int)server->pid);
    ok = ok && strstr(redis_server_ask(server, "INFO server"), mine) != NULL &&
         strcmp(redis_server_ask(server, "PING"), "PONG") == 0;
    if (!ok && server->client != NULL) {
        redisFree(server->client);
        server->client = NULL;
    }
    return ok || waitpid(server->pid, NULL, WNOHANG) == server->pid;
}

bool
redis_server_start(struct redis_server *server)
{
    if (server->dir[0] == '\0') {
        snprintf(server->dir, sizeof(server->dir), "/tmp/upt-view-XXXXXX");
        if (mkdtemp(server->dir) == NULL) {
            return false;
        }
    }
    bool again = server->port != 0;
    for (int i = 0; i < 10; i++) { /* a server that cannot have its port ends at once */
        server->port = again ? server->port : some_port();
        snprintf(server->url, sizeof(server->url), "redis://127.0.0.1:%d", server->port);
        server->pid = spawn(server);
        if (server->pid > 0 && redis_server_wait(answers, server) && server->client != NULL) {
            return true;
        }
    }
    return false;
}

void
redis_server_kill(struct redis_server *server)
{
    if (server->client != NULL) {
        redisFree(server->client);
        server->client = NULL;
    }
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

void
redis_server_end(struct redis_server *server)
{
    redis_server_kill(server);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", server->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

const char *
redis_server_ask(struct redis_server *server, const char *fmt, ...)
{
    static char text[4096];
    va_list args;
    va_start(args, fmt);
    redisReply *reply = redisvCommand(server->client, fmt, args);
    va_end(args);
    if (reply == NULL) {
        return "(no reply)";
    }
    if (reply->type == REDIS_REPLY_INTEGER) {
        snprintf(text, sizeof(text), "%lld", reply->integer);
    } else {
        snprintf(text, sizeof(text), "%s", reply->str != NULL ? reply->str : "(nil)");
    }
    freeReplyObject(reply);
    return text;
}

bool
redis_server_wait(bool (*holds)(void *ctx), void *ctx)
{
    const char *wait = getenv("UPTAKE_TEST_WAIT_MS");
    int64_t until = upt_mono_ms() + (wait != NULL ? strtol(wait, NULL, 10) : WAIT_MS);
    for (; upt_mono_ms() < until; upt_sleep_ms(2)) {
        if (holds(ctx)) {
            return true;
        }
    }
    return false;
}
