/* What the files of the configuration share: the table of keys as data, and how a value is set and judged. */
#ifndef UPT_BASE_CONFIG_TABLE_H
#define UPT_BASE_CONFIG_TABLE_H

#include "uptake/config.h"

typedef enum upt_key_type {
    UPT_KEY_STR,
    UPT_KEY_ENUM,
    UPT_KEY_DURATION,
    UPT_KEY_SIZE,
    UPT_KEY_INT,
    UPT_KEY_BOOL
} upt_key_type;

struct upt_key {
    const char *name;
    const char *fallback; /* an enum's values, separated by '|', the default first */
    const char *what;
    size_t offset; /* of the field in struct upt_config */
    upt_key_type type;
    bool secret;
};

extern const struct upt_key *const upt_keys; /* upt_keys_n of them, in the table's order */
extern const size_t upt_keys_n;
#define UPT_KAFKA_PREFIX "kafka."

/* The key of that name, or NULL. */
const struct upt_key *upt_key_find(const char *name);
/* Whether the name is the beginning of dotted keys, such as "redis". */
bool upt_key_is_section(const char *name);
/* The key that the unknown name probably meant, or NULL. */
const char *upt_key_guess(const char *name);
/* One of an enum's values: true if value is among them. */
bool upt_key_enum_has(const char *values, const char *value);
/* "500ms", "1MiB", "4": a number as the key's type writes it; buf ≥ 32. */
void upt_key_format(const struct upt_key *key, int64_t v, char *buf);

/* Least and greatest value of a number; false if the key is none. */
bool upt_key_range(const struct upt_key *key, int64_t *ret_min, int64_t *ret_max);

/* Values of fields. */
const char *upt_key_text(const struct upt_config *config, const struct upt_key *key);
int64_t upt_key_number(const struct upt_config *config, const struct upt_key *key);
bool upt_key_flag(const struct upt_config *config, const struct upt_key *key);

/* Sets a key from its raw text, ${…} and all. line 0: not from the file. */
UPT_NODISCARD upt_status upt_config_put(struct upt_config *config, const char *name, const char *raw, int line,
                                        struct upt_error *reterr);
/* "FILE:LINE: KEY: …", "FILE: KEY: …" without a line, "KEY: …" without a file; code UPT_EINVAL. */
upt_status upt_config_fail(const struct upt_config *config, int line, const char *key, struct upt_error *reterr,
                           const char *fmt, ...) UPT_PRINTF(5, 6);

/* config_value.c: replaces ${NAME} and ${file:PATH}. *ret is owned by the caller. why: UPT_EINVAL's text; of a value
 * that is taken which secret's file others may use, or "". */
UPT_NODISCARD bool upt_value_substitute(const char *raw, bool secret, struct upt_buf *ret, char *ret_why,
                                        size_t why_cap);

struct stat;
/* Whether a file of these rights may hold a secret; otherwise why not. */
bool upt_secret_rights_ok(const struct stat *st, const char *path, char *ret_why, size_t why_cap);

/* config_yaml.c */
UPT_NODISCARD upt_status upt_config_parse(struct upt_config *config, const char *text, size_t len,
                                          struct upt_error *reterr);

/* config_kafka.c: why uptake owns the property, or NULL if it may be given. */
const char *upt_kafka_owned(const char *name, bool from_file);
bool upt_kafka_secret(const char *name);
void upt_kafka_owned_markdown(struct upt_buf *out);
void upt_kafka_defaults_markdown(struct upt_buf *out);

#endif
