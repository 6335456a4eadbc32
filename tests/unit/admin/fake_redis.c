/* The Redis of a few lines: one connection at a time, answers by the command and its key. See fake_redis.h. */
#include "fake_redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uptake/assert.h"

#define ARGS 24

struct fake_redis {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    fake_mood mood;
    bool stopping, received;
    int counts[8];
};

static const char *const commands[8] = {"HGETALL", "ZREVRANGE", "HMGET", "SCAN", "HGET", "AUTH", "SELECT", "CLIENT"};

struct reply {
    const char *command, *key, *text;
};

/* What this Redis holds. HMGET: the fields in the order of the page's questions. */
static const struct reply replies[] = {
    {"HGETALL", "uptake:totals",
     "*6\r\n$10\r\nevents_24h\r\n$2\r\n42\r\n$9\r\nunits_24h\r\n$22\r\n12345678901234567890.5\r\n$5\r\nas_of\r\n$"
     "1\r\n7\r\n"},
    {"HGETALL", "uptake:account:{a%20b}", "*4\r\n$6\r\nhealth\r\n$4\r\n31.5\r\n$7\r\nsegment\r\n$3\r\n007\r\n"},
    {"HGETALL", "uptake:account:{a%20b}:features", "*4\r\n$1\r\nx\r\n$1\r\n3\r\n$1\r\ny\r\n$2\r\n11\r\n"},
    {"ZREVRANGE", "uptake:rank:churn_risk",
     "*6\r\n$4\r\ngone\r\n$1\r\n1\r\n$3\r\na b\r\n$3\r\n0.9\r\n$12\r\n<b>bold</b>\n\r\n$4\r\n0.25\r\n"},
    {"HMGET", "uptake:account:{gone}",
     "*12\r\n$8\r\nCRITICAL\r\n$-1\r\n$1\r\n1\r\n$-1\r\n$-1\r\n$1\r\n0\r\n$4\r\n1000\r\n$7\r\nCHURNED\r\n$-1\r\n$"
     "1\r\n0\r\n$-1\r\n$1\r\n0\r\n"},
    {"HMGET", "uptake:account:{a%20b}",
     "*12\r\n$8\r\nCRITICAL\r\n$4\r\n12.5\r\n$3\r\n0.9\r\n$-1\r\n$-1\r\n$1\r\n2\r\n$4\r\n1000\r\n$5\r\nUSAGE\r\n$-"
     "1\r\n$1\r\n5\r\n"
     "$-1\r\n$1\r\n4\r\n"},
    {"HMGET", "uptake:feature:{f%20one}",
     "*6\r\n$3\r\n100\r\n$3\r\n200\r\n$1\r\n9\r\n$1\r\n2\r\n$3\r\n0.5\r\n$1\r\n1\r\n"},
    {"HMGET", "uptake:feature:{two}", "*6\r\n$3\r\n700\r\n$3\r\n900\r\n$1\r\n9\r\n$1\r\n2\r\n$3\r\n0.5\r\n$1\r\n1\r\n"},
    {"HGET", "uptake:feature:{f%20one}", "$3\r\n100\r\n"},
    {"HGET", "uptake:feature:{two}", "$3\r\n700\r\n"},
    {"SCAN", "0", "*2\r\n$2\r\n17\r\n*1\r\n$24\r\nuptake:feature:{f%20one}\r\n"},
    {"SCAN", "17", "*2\r\n$1\r\n0\r\n*2\r\n$20\r\nuptake:feature:{two}\r\n$24\r\nuptake:feature:{f%20one}\r\n"},
    {"HGETALL", NULL, "*0\r\n"},
    {"HMGET", NULL, "*12\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n"},
};

static const char *
answer(const char *command, const char *key)
{
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        if (strcmp(replies[i].command, command) == 0 && (replies[i].key == NULL || strcmp(replies[i].key, key) == 0)) {
            return replies[i].text;
        }
    }
    return "+OK\r\n";
}

static const char *
wordy(void)
{
    static char text[400] = "-ERR ";
    for (size_t i = 5; i + 3 < sizeof(text); i += 2) {
        memcpy(text + i, "\xc3\xa9", 2);
    }
    memcpy(text + sizeof(text) - 3, "\r\n", 3);
    return text;
}

/* Of a Redis with more features than the page keeps. */
static const char *
answer_many(const char *command, const char *key)
{
    static char text[FAKE_FEATURES * 40];
    int number = 0;
    size_t len = 0;
    if (strcmp(command, "SCAN") == 0) {
        len = (size_t)snprintf(text, sizeof(text), "*2\r\n$1\r\n0\r\n*%d\r\n", FAKE_FEATURES);
        for (int i = 0; i < FAKE_FEATURES; i++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "$22\r\nuptake:feature:{n%04d}\r\n", i);
        }
        return text;
    }
    if (sscanf(key, "uptake:feature:{n%d}", &number) == 1 && strcmp(command, "HGET") == 0) {
        return number == FAKE_TOP ? "$4\r\n9000\r\n" : "$1\r\n5\r\n";
    }
    return strcmp(command, "HMGET") == 0 ? answer(command, "uptake:feature:{two}") : answer(command, key);
}

/* One command from the buffer: its first two words; the bytes used, 0 if it is not whole yet. */
static size_t
parse(const char *p, size_t len, char *ret_command, char *ret_key, size_t cap)
{
    const char *end = p + len;
    const char *at = p;
    char *eol = NULL;
    if (memchr(p, '\n', len) == NULL) {
        return 0;
    }
    long n = strtol(at + 1, &eol, 10);
    upt_assert(*at == '*' && n > 0 && n < ARGS);
    at = eol + 2;
    ret_key[0] = '\0';
    for (long i = 0; i < n; i++) {
        if (at >= end || memchr(at, '\n', (size_t)(end - at)) == NULL) {
            return 0;
        }
        long size = strtol(at + 1, &eol, 10);
        at = eol + 2;
        if (size + 2 > end - at) {
            return 0;
        }
        if (i < 2 && (size_t)size < cap) {
            memcpy(i == 0 ? ret_command : ret_key, at, (size_t)size);
            (i == 0 ? ret_command : ret_key)[size] = '\0';
        }
        at += size + 2;
    }
    return (size_t)(at - p);
}

/* Waits while the mood is to hold; false: the test is over. */
static fake_mood
settle(struct fake_redis *fake, const char *command, bool *ret_stop)
{
    pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < 8; i++) {
        fake->counts[i] += strcmp(command, commands[i]) == 0;
    }
    fake->received = true;
    pthread_cond_broadcast(&fake->changed);
    while (fake->mood == FAKE_HOLDS && !fake->stopping) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    fake_mood mood = fake->mood;
    *ret_stop = fake->stopping;
    pthread_mutex_unlock(&fake->lock);
    return mood;
}

/* Serves one connection until its end. */
static bool
serve(struct fake_redis *fake, int fd)
{
    char buf[65536];
    size_t len = 0;
    bool stop = false;
    for (;;) {
        ssize_t got = read(fd, buf + len, sizeof(buf) - 1 - len);
        if (got <= 0) {
            return true;
        }
        len += (size_t)got;
        buf[len] = '\0';
        char command[300], key[300];
        for (size_t used = parse(buf, len, command, key, 300); used > 0; used = parse(buf, len, command, key, 300)) {
            memmove(buf, buf + used, len - used);
            len -= used;
            fake_mood mood = settle(fake, command, &stop);
            const char *text = mood == FAKE_LOADING ? "-LOADING Redis is loading the dataset in memory\r\n"
                               : mood == FAKE_WORDY ? wordy()
                               : mood == FAKE_MANY  ? answer_many(command, key)
                                                    : answer(command, key);
            if (stop) {
                return false;
            }
            if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
                return true;
            }
            if (len == 0) {
                break;
            }
        }
    }
}

static void *
fake_main(void *arg)
{
    struct fake_redis *fake = arg;
    bool go_on = true;
    while (go_on) {
        int fd = accept(fake->fd, NULL, NULL);
        if (fd < 0) {
            break;
        }
        go_on = serve(fake, fd);
        close(fd);
    }
    return NULL;
}

struct fake_redis *
fake_redis_start(void)
{
    struct fake_redis *fake = calloc(1, sizeof(*fake));
    upt_assert(fake != NULL);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    fake->fd = socket(AF_INET, SOCK_STREAM, 0);
    upt_assert(bind(fake->fd, (struct sockaddr *)&addr, len) == 0 && listen(fake->fd, 8) == 0);
    upt_assert(getsockname(fake->fd, (struct sockaddr *)&addr, &len) == 0);
    fake->port = ntohs(addr.sin_port);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    upt_assert(pthread_create(&fake->thread, NULL, fake_main, fake) == 0);
    return fake;
}

void
fake_redis_stop(struct fake_redis **fake_p)
{
    struct fake_redis *fake = *fake_p;
    *fake_p = NULL;
    pthread_mutex_lock(&fake->lock);
    fake->stopping = true;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
    shutdown(fake->fd, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->fd);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
    free(fake);
}

uint16_t
fake_redis_port(const struct fake_redis *fake)
{
    return fake->port;
}

void
fake_redis_set(struct fake_redis *fake, fake_mood mood)
{
    pthread_mutex_lock(&fake->lock);
    fake->mood = mood;
    fake->received = false;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

int
fake_redis_count(struct fake_redis *fake, const char *command)
{
    int n = -1;
    pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < 8; i++) {
        n = strcmp(command, commands[i]) == 0 ? fake->counts[i] : n;
    }
    pthread_mutex_unlock(&fake->lock);
    return n;
}

void
fake_redis_wait(struct fake_redis *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (!fake->received) {
        pthread_cond_wait(&fake->changed, &fake->lock);
    }
    pthread_mutex_unlock(&fake->lock);
}
