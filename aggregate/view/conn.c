/* Connection, sending and replies, keys. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "aggregate/view/internal.h"
#include "uptake/log.h"
#include "uptake/time.h"

#define DEFAULT_PORT 6379
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define PUSH_BYTES 65536 /* sent at once: stays in the cache from the row to the socket */
#define MANY 64          /* commands whose replies are awaited together */
#define REPLY_MIN 4      /* bytes of the shortest reply, ":1\r\n" */
#define AWAIT_MAX 32768  /* less than any receive buffer */

void
upt_view_disconnect(struct upt_view *view, const char *why)
{
    if (view->redis != NULL) {
        upt_log_limited(UPT_LOG_WARNING, "view", "Redis: %s; trying again", why);
        redisFree(view->redis);
        view->redis = NULL;
    }
    atomic_store(&view->connected, false);
    upt_metric_set(view->config.metrics, UPT_M_REDIS_UP, 0);
    view->backoff_ms = view->backoff_ms < BACKOFF_MIN_MS ? BACKOFF_MIN_MS : view->backoff_ms * 2;
    view->backoff_ms = view->backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : view->backoff_ms;
    view->retry_ms = upt_mono_ms() + view->backoff_ms;
}

/* ---- sending ---- */

/* What was appended, down to the socket. A connection that breaks is gone. */
static bool
push(struct upt_view *view)
{
    if (view->redis != NULL && view->out.len > 0) {
        int done = 0;
        bool ok = redisAppendFormattedCommand(view->redis, view->out.p, view->out.len) == REDIS_OK;
        while (ok && done == 0) {
            ok = redisBufferWrite(view->redis, &done) == REDIS_OK;
        }
        if (!ok) {
            upt_view_disconnect(view, view->redis->errstr);
        }
    }
    upt_buf_clear(&view->out);
    return view->redis != NULL;
}

void
upt_cmd_push(struct upt_view *view)
{
    if (view->out.len >= PUSH_BYTES) {
        (void)push(view);
    }
}

/* Sleeps until most of the replies to n commands are there: Redis sends them some 30 at a time, and to be woken for
 * each lot costs both sides more than the replies. The wait is bounded, the reading after it decides. */
static void
await_replies(const struct upt_view *view, unsigned n)
{
    if (n < MANY) {
        return;
    }
    int bytes = n < AWAIT_MAX / REPLY_MIN ? (int)n * REPLY_MIN : AWAIT_MAX;
    if (setsockopt(view->redis->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) == 0) {
        struct pollfd pfd = {.fd = view->redis->fd, .events = POLLIN};
        bytes = 1;
        (void)poll(&pfd, 1, (int)view->config.timeout_ms);
        (void)setsockopt(view->redis->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
    }
}

static bool
read_replies(struct upt_view *view, unsigned n, upt_reply_fn on_reply, void *ctx)
{
    bool ok = true;
    for (unsigned i = 0; i < n && ok; i++) {
        void *reply = NULL;
        ok = redisGetReply(view->redis, &reply) == REDIS_OK && reply != NULL;
        if (ok && on_reply != NULL) {
            on_reply(ctx, i, reply);
        }
        if (reply != NULL) {
            view->redis->reader->fn->freeObject(reply);
        }
    }
    if (!ok) {
        upt_view_disconnect(view, view->redis->errstr[0] != '\0' ? view->redis->errstr : "no answer");
    }
    return ok;
}

struct answers {
    upt_reply_fn on_reply;
    void *ctx;
    char error[128];
};

static void
on_answer(void *ctx, unsigned i, redisReply *reply)
{
    struct answers *answers = ctx;
    if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) != 0) {
        (void)snprintf(answers->error, sizeof(answers->error), "%s", reply->str);
    }
    if (answers->on_reply != NULL) {
        answers->on_reply(answers->ctx, i, reply);
    }
}

/* An error is no answer: nothing may be concluded from it. But for that of a key of another type, which is as good as
 * none. */
bool
upt_cmd_send(struct upt_view *view, upt_reply_fn on_reply, void *ctx)
{
    struct answers answers = {.on_reply = on_reply, .ctx = ctx};
    unsigned n = view->out_n;
    view->out_n = 0;
    if (!push(view) || !read_replies(view, n, on_answer, &answers)) {
        return false;
    }
    if (answers.error[0] != '\0') {
        upt_view_disconnect(view, answers.error);
        return false;
    }
    return true;
}

bool
upt_cmd_send_noting(struct upt_view *view, redisReplyObjectFunctions *noting, void *ctx)
{
    unsigned n = view->out_n;
    view->out_n = 0;
    if (!push(view)) {
        return false;
    }
    await_replies(view, n);
    redisReader *reader = view->redis->reader;
    redisReplyObjectFunctions *const making = reader->fn;
    reader->fn = noting;
    reader->privdata = ctx;
    if (!read_replies(view, n, NULL, NULL)) {
        return false; /* the reader is gone, too */
    }
    reader->fn = making;
    reader->privdata = NULL;
    return true;
}

/* ---- connecting ---- */

struct address {
    struct upt_buf host, user, password; /* of any length: a password may be a token */
    int port, db;
};

static const char *
text(const struct upt_buf *part)
{
    return part->len > 0 ? part->p : "";
}

static void
copy_part(struct upt_buf *to, const char *from, size_t len)
{
    upt_buf_clear(to);
    upt_buf_put(to, from, len);
    upt_buf_put(to, "", 1);
}

static int
hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Percent-decoded, as in every URL; a % that begins no such code stands for itself. */
static void
copy_decoded(struct upt_buf *to, const char *from, size_t len)
{
    upt_buf_clear(to);
    for (size_t i = 0; i < len; i++) {
        int hi = i + 2 < len ? hex(from[i + 1]) : -1, lo = i + 2 < len ? hex(from[i + 2]) : -1;
        bool code = from[i] == '%' && hi >= 0 && lo >= 0 && hi + lo > 0;
        char c = (char)(code ? hi << 4 | lo : from[i]);
        upt_buf_put(to, &c, 1);
        i += code ? 2 : 0;
    }
    upt_buf_put(to, "", 1);
}

/* redis://[user:password@]host[:port][/db] */
static upt_status
parse_url(const char *url, struct address *ret, struct upt_error *reterr)
{
    static const char scheme[] = "redis://";
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0) {
        return upt_fail(reterr, UPT_EINVAL, "redis.url: must begin with redis:// (this build has no TLS)");
    }
    const char *p = url + sizeof(scheme) - 1;
    const char *at = strrchr(p, '@');
    if (at != NULL) {
        const char *colon = memchr(p, ':', (size_t)(at - p));
        copy_decoded(&ret->user, p, (size_t)((colon != NULL ? colon : at) - p));
        if (colon != NULL) {
            copy_decoded(&ret->password, colon + 1, (size_t)(at - colon - 1));
        }
        p = at + 1;
    }
    const char *slash = strchr(p, '/');
    size_t len = slash != NULL ? (size_t)(slash - p) : strlen(p);
    ret->db = slash != NULL ? (int)strtol(slash + 1, NULL, 10) : 0;
    ret->port = DEFAULT_PORT;
    const char *colon = memchr(p, ':', len);
    if (*p == '[') { /* [::1]:6379 */
        const char *close = memchr(p, ']', len);
        colon = close != NULL ? memchr(close, ':', len - (size_t)(close - p)) : NULL;
        copy_part(&ret->host, p + 1, close != NULL ? (size_t)(close - p - 1) : 0);
    } else {
        copy_part(&ret->host, p, colon != NULL ? (size_t)(colon - p) : len);
    }
    if (colon != NULL) {
        ret->port = (int)strtol(colon + 1, NULL, 10);
    }
    if (text(&ret->host)[0] == '\0' || ret->port < 1 || ret->port > 65535 || ret->db < 0) {
        return upt_fail(reterr, UPT_EINVAL, "redis.url: redis://[user:password@]host:port[/db] is wanted");
    }
    return UPT_OK;
}

/* What is not in the URL, or better known. */
static void
override(struct upt_buf *part, const char *given)
{
    if (given != NULL && given[0] != '\0') {
        copy_part(part, given, strlen(given));
    }
}

static upt_status
command(redisContext *redis, int argc, const char **argv, const char *what, struct upt_error *reterr)
{
    redisReply *reply = redisCommandArgv(redis, argc, argv, NULL);
    upt_status status = UPT_OK;
    if (reply == NULL) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "Redis: %s: %s", what, redis->errstr);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        bool auth = strncmp(reply->str, "WRONGPASS", 9) == 0 || strncmp(reply->str, "NOAUTH", 6) == 0 ||
                    strncmp(reply->str, "NOPERM", 6) == 0;
        status = upt_fail(reterr, auth ? UPT_EAUTH : UPT_EUNAVAIL, "Redis: %s: %s", what, reply->str);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return status;
}

upt_status
upt_redis_connect(const struct upt_view_config *config, struct redisContext **ret, struct upt_error *reterr)
{
    struct address to = {0};
    redisContext *redis = NULL;
    upt_status status = parse_url(config->url, &to, reterr);
    if (status != UPT_OK) {
        goto out;
    }
    override(&to.user, config->user);
    override(&to.password, config->password);
    const char *user = text(&to.user), *password = text(&to.password);
    const struct timeval timeout = {.tv_sec = config->timeout_ms / 1000, .tv_usec = (config->timeout_ms % 1000) * 1000};
    redis = redisConnectWithTimeout(text(&to.host), to.port, timeout);
    if (redis == NULL || redis->err != 0 || redisSetTimeout(redis, timeout) != REDIS_OK) {
        status = upt_fail(reterr, UPT_EUNAVAIL, "Redis at %s:%d: %s", text(&to.host), to.port,
                          redis != NULL ? redis->errstr : "out of memory");
        goto out;
    }
    (void)fcntl(redis->fd, F_SETFD, FD_CLOEXEC);
    redis->reader->maxbuf = 0; /* keep the buffer: it would be freed and made anew for every pipeline */
    if (password[0] != '\0') {
        const char *with_user[] = {"AUTH", user, password};
        const char *without[] = {"AUTH", password};
        status =
            user[0] != '\0' ? command(redis, 3, with_user, "AUTH", reterr) : command(redis, 2, without, "AUTH", reterr);
    }
    char db[16];
    snprintf(db, sizeof(db), "%d", to.db);
    const char *select[] = {"SELECT", db};
    if (status == UPT_OK && to.db != 0) {
        status = command(redis, 2, select, "SELECT", reterr);
    }
    const char *name[] = {"CLIENT", "SETNAME", "uptake"};
    if (status == UPT_OK) {
        (void)command(redis, 3, name, "CLIENT SETNAME", NULL); /* an ACL may forbid it */
        *ret = redis;
        redis = NULL;
    }
out:
    if (redis != NULL) {
        redisFree(redis);
    }
    upt_buf_fini(&to.host);
    upt_buf_fini(&to.user);
    upt_buf_fini(&to.password);
    return status;
}

bool
upt_view_connect(struct upt_view *view)
{
    struct upt_error err;
    if (view->redis != NULL) {
        return true;
    }
    if (upt_mono_ms() < view->retry_ms) {
        return false;
    }
    if (upt_redis_connect(&view->config, &view->redis, &err) != UPT_OK) {
        upt_log_limited(UPT_LOG_WARNING, "view", "%s", err.msg);
        upt_view_disconnect(view, err.msg);
        return false;
    }
    view->checked_ms = 0; /* what Redis holds may have changed: look at the markers first */
    view->shares_all_ms = -view->config.repair_interval_ms; /* which say nothing of shares: all are made anew */
    upt_view_walk_anew(view);
    atomic_store(&view->connected, true);
    upt_metric_set(view->config.metrics, UPT_M_REDIS_UP, 1);
    upt_metric_add(view->config.metrics, UPT_M_REDIS_RECONNECTS, 1);
    return true;
}

/* ---- keys ---- */

static bool
is_plain(unsigned char c)
{
    return !(c <= 0x20 || c == 0x7F || c == '{' || c == '}' || c == '%');
}

void
upt_encode(struct upt_buf *out, const char *p, size_t len)
{
    for (size_t i = 0, from = 0; i <= len; i++) {
        if (i < len && is_plain((unsigned char)p[i])) {
            continue;
        }
        upt_buf_put(out, p + from, i - from);
        if (i < len) {
            upt_buf_printf(out, "%%%02X", (unsigned char)p[i]);
        }
        from = i + 1;
    }
}

void
upt_view_key(struct upt_buf *out, const char *prefix, const char *family, struct upt_str name, const char *suffix)
{
    upt_buf_puts(out, prefix);
    upt_buf_puts(out, family);
    upt_buf_put(out, "{", 1);
    upt_encode(out, name.p, name.len);
    upt_buf_put(out, "}", 1);
    upt_buf_puts(out, suffix);
}

void
upt_key(struct upt_view *view, const char *family, struct upt_str name, const char *suffix)
{
    upt_buf_clear(&view->key);
    upt_view_key(&view->key, view->prefix, family, name, suffix);
}
