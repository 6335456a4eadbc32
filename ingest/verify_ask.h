/* What verify asks Redis: commands and their answers, names of a family of keys, members of a set or a rank. */
#ifndef UPT_VERIFY_ASK_H
#define UPT_VERIFY_ASK_H

#include <hiredis/hiredis.h>

#include "ingest/verify.h"

struct upt_asked {
    struct upt_verify *v;
    redisContext *redis;
    struct upt_buf *names; /* of one step of a scan */
    size_t names_n;
    void *ctx; /* of the function that names are given to */
    struct upt_error *reterr;
};

/* Queues a command; key NULL: without arguments; more null: the key alone. */
bool upt_ask(struct upt_asked *asked, const char *command, const struct upt_buf *key, struct upt_str more);
/* The next reply, of a type; NULL: something is wrong, said in reterr. The caller frees it. */
redisReply *upt_answer(struct upt_asked *asked, int type);
/* The reply of EXEC after `queued` commands, with that many elements, none of them an error. */
redisReply *upt_answer_group(struct upt_asked *asked, size_t queued);

/* Calls fn with asked->names of each step. suffix: what stands behind the name's brace. */
typedef upt_status (*upt_ask_names_fn)(struct upt_asked *asked);
UPT_NODISCARD upt_status upt_ask_names(struct upt_asked *asked, const char *family, const char *suffix,
                                       upt_ask_names_fn fn);
/* Calls fn for each member of the key; command: SSCAN or ZSCAN. */
typedef upt_status (*upt_ask_member_fn)(struct upt_asked *asked, struct upt_str member, const void *ctx);
UPT_NODISCARD upt_status upt_ask_members(struct upt_asked *asked, const char *command, const struct upt_buf *key,
                                         upt_ask_member_fn fn, const void *ctx);

#endif
