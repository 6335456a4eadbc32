/* "Did you mean": the known key nearest to an unknown one.
 *
 * Edit distance (Levenshtein), against whole keys and against keys without their section. Only near misses are named; a
 * wrong guess is worse than none. Any thread. */
#include <ctype.h>
#include <stdlib.h>

#include "config_table.h"

#define NAME_MAX_BYTES 48

static size_t
least(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

static char
fold(char c)
{
    return (char)(c == '-' || c == '.' ? '_' : tolower((unsigned char)c));
}

/* Both at most NAME_MAX_BYTES long. */
static size_t
distance(const char *a, const char *b)
{
    size_t rows[2][NAME_MAX_BYTES + 1];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 2];
        const size_t *up = rows[(i + 1) % 2];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = fold(a[i - 1]) == fold(b[j - 1]) ? 0 : 1;
            now[j] = least(up[j] + 1, now[j - 1] + 1, up[j - 1] + change);
        }
    }
    return rows[a_len % 2][b_len];
}

const char *
upt_key_guess(const char *name)
{
    static const char *const kafka[] = {"kafka.bootstrap.servers", "kafka.security.protocol"};
    size_t len = strlen(name);
    const char *best = NULL;
    size_t best_distance = len / 4 + 2;
    if (len == 0 || len > NAME_MAX_BYTES) {
        return NULL;
    }
    for (size_t i = 0; i < upt_keys_n + sizeof(kafka) / sizeof(kafka[0]); i++) {
        const char *key = i < upt_keys_n ? upt_keys[i].name : kafka[i - upt_keys_n];
        const char *dot = strchr(key, '.');
        size_t whole = distance(name, key);
        size_t bare = dot == NULL ? whole : distance(name, dot + 1) + 1;
        size_t d = whole < bare ? whole : bare;
        if (d < best_distance) {
            best_distance = d;
            best = key;
        }
    }
    return best;
}
