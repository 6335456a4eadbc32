/* Walking an encoded Avro map<string> in place.
 *
 * The decoder has checked lengths and UTF-8, and leaves the map where it is: only PROFILE events are asked for their
 * properties, so copying them for every event would be paid for nothing. Bounds are checked again all the same; a map
 * that does not hold ends the walk, it never reads past its end. Any thread; the cursor belongs to the caller. */
#include "uptake/event.h"

#include <stddef.h>

struct upt_props_cur
upt_props_begin(struct upt_props props)
{
    const char *end = props.raw.p == NULL ? NULL : props.raw.p + props.raw.len;
    return (struct upt_props_cur){.p = props.raw.p, .end = end};
}

/* Makes the walk end here and at every later call. */
static bool
finish(struct upt_props_cur *cur)
{
    cur->p = cur->end;
    cur->left = 0;
    return false;
}

/* Reads one block's head. False at the end marker or the end of the bytes. */
static bool
next_block(struct upt_props_cur *cur, struct upt_cur *bytes)
{
    int64_t count = upt_cur_zigzag(bytes);
    if (count < 0) {
        (void)upt_cur_zigzag(bytes); /* the block's length in bytes, for those who skip it */
        if (count == INT64_MIN) {
            return false;
        }
        count = -count;
    }
    cur->left = count;
    return bytes->ok && count > 0;
}

static struct upt_str
next_string(struct upt_cur *bytes)
{
    int64_t len = upt_cur_zigzag(bytes);
    return upt_cur_bytes(bytes, len < 0 ? UINT64_MAX : (uint64_t)len);
}

bool
upt_props_next(struct upt_props_cur *cur, struct upt_str *ret_name, struct upt_str *ret_value)
{
    struct upt_cur bytes = {.p = cur->p, .end = cur->end, .ok = cur->p != NULL};
    if (cur->left == 0 && !next_block(cur, &bytes)) {
        return finish(cur);
    }
    struct upt_str name = next_string(&bytes);
    struct upt_str value = next_string(&bytes);
    if (!bytes.ok) {
        return finish(cur);
    }
    cur->p = bytes.p;
    cur->left--;
    *ret_name = name;
    *ret_value = value;
    return true;
}
