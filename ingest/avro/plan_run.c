/* Runs a decode plan over the bytes of one record.
 *
 * Why an interpreter of steps with its place in a register: no allocation, no call per field into a library, no copy
 * (strings and properties are slices of the record). Measured with tests/bench/decode.c (gcc 12 -O2 with the release
 * build's hardening, one core of an AMD EPYC virtual machine, best of ten): 26 ns for an event of 98 bytes and 43 ns
 * for one of 127 bytes with two properties, where libavro's generic reader takes 750 and 1,560 ns in the same run. What
 * that rests on: the fields of the shipped schema are read in a row (run_usual), numbers of up to eight bytes at once,
 * and ASCII is checked without a branch on the length.
 *
 * Every byte that a record holds is checked, wanted or not: lengths against what remains before they are used, ints
 * for 32 bits, indexes for their range, booleans for 0 and 1, strings and map keys for UTF-8, block sizes against what
 * was read. A limit is judged where it is met: depth on entering a record, array or map, events when a block's count
 * is read. What comes first in the record decides.
 *
 * Bounds: a step that is run takes at least one byte or ends the run, except UPT_OP_EMPTY, of which no two follow each
 * other; items that take no byte are passed over by the block and not one by one. So the time is proportional to the
 * record whatever the schema. Recursion follows records, arrays and maps and ends at max_depth.
 *
 * Each step takes the place it reads from and returns the one behind, or NULL after a fault. One thread for each run.
 */
#include "ingest/avro/plan.h"

#include <stdlib.h>
#include <string.h>

struct block {
    uint64_t left;       /* items; 0: the end */
    const uint8_t *stop; /* where the block must end; NULL: not stated */
};

/* What an event is before its fields are read: the reader's defaults. Copied, since clearing it in place becomes a
 * string instruction that takes longer than the rest of a small event. */
static const struct upt_event event_new = {
    .event_id = {"", 0}, .properties = {{"", 0}}, .quantity = 1.0, .kind = UPT_KIND_OTHER};

/* The way of an ordinary event is one function: what it calls is inlined there, what is rare is not. */
#define WIDE 32U
#define TOP_BITS UINT64_C(0x8080808080808080)

#define HOT static inline __attribute__((always_inline))
#define COLD static __attribute__((cold, noinline))

static const uint8_t *run_list(struct upt_run *run, const struct upt_op *op, uint32_t count, const uint8_t *p);

COLD const uint8_t *
fault(struct upt_run *run, upt_reason reason, const char *why, const uint8_t *p)
{
    run->reason = reason;
    run->why = why;
    run->at = (size_t)(p - run->begin);
    return NULL;
}

COLD const uint8_t *
bad(struct upt_run *run, const char *why, const uint8_t *p)
{
    return fault(run, UPT_REASON_BAD_AVRO, why, p);
}

/* ---- Primitives ---- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Avro's order of bytes");

HOT uint64_t
load_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

HOT uint32_t
load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

HOT int64_t
unzigzag(uint64_t raw)
{
    return (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
}

static __attribute__((noinline)) const uint8_t *
read_long_bytes(struct upt_run *run, const uint8_t *p, int64_t *ret)
{
    uint64_t raw = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == run->end) {
            return bad(run, "truncated", p);
        }
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) {
            return bad(run, "a number over 64 bits", p);
        }
        raw |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret = unzigzag(raw);
            return p;
        }
    }
    return bad(run, "a number over 64 bits", p);
}

/* Eight bytes of the record from p on, and bytes 0xFF behind its end. All 0xFF if the record is shorter than eight. */
HOT uint64_t
load_long(const struct upt_run *run, const uint8_t *p)
{
    size_t left = (size_t)(run->end - p);
    if (left >= 8) {
        return load_le64(p);
    }
    if (left == 0 || run->end - run->begin < 8) {
        return UINT64_MAX;
    }
    return load_le64(run->end - 8) >> (64 - 8 * left) | UINT64_MAX << 8 * left;
}

/* Two to eight bytes at once: the groups of seven bits are pushed together pairwise. */
HOT const uint8_t *
read_long_wide(struct upt_run *run, const uint8_t *p, int64_t *ret)
{
    uint64_t word = load_long(run, p);
    uint64_t stop = ~word & TOP_BITS;
    if (stop == 0) {
        return read_long_bytes(run, p, ret);
    }
    word &= stop ^ (stop - 1);
    word = (word & UINT64_C(0x7F007F007F007F00)) >> 1 | (word & UINT64_C(0x007F007F007F007F));
    word = (word & UINT64_C(0x3FFF00003FFF0000)) >> 2 | (word & UINT64_C(0x00003FFF00003FFF));
    word = (word & UINT64_C(0x0FFFFFFF00000000)) >> 4 | (word & UINT64_C(0x000000000FFFFFFF));
    *ret = unzigzag(word);
    return p + ((unsigned)__builtin_ctzll(stop) + 1) / 8;
}

HOT const uint8_t *
read_long(struct upt_run *run, const uint8_t *p, int64_t *ret)
{
    if (p != run->end && *p < 0x80) {
        *ret = unzigzag(*p);
        return p + 1;
    }
    return read_long_wide(run, p, ret);
}

HOT const uint8_t *
read_int(struct upt_run *run, const uint8_t *p, int64_t *ret)
{
    const uint8_t *next = read_long(run, p, ret);
    if (next != NULL && *ret != (int32_t)*ret) {
        return bad(run, "an int over 32 bits", p);
    }
    return next;
}

/* An enum's or a union's index below count. */
HOT const uint8_t *
read_index(struct upt_run *run, const uint8_t *p, uint32_t count, const char *why, uint32_t *ret)
{
    int64_t index = 0;
    const uint8_t *next = read_long(run, p, &index);
    if (next != NULL && (uint64_t)index >= count) {
        return bad(run, why, p);
    }
    *ret = (uint32_t)index;
    return next;
}

static inline const uint8_t *
read_bytes(struct upt_run *run, const uint8_t *p, struct upt_str *ret)
{
    int64_t len = 0;
    const uint8_t *next = read_long(run, p, &len);
    if (next == NULL) {
        return NULL;
    }
    if ((uint64_t)len > (uint64_t)(run->end - next)) {
        return bad(run, "a length that does not fit", p);
    }
    *ret = (struct upt_str){.p = (const char *)next, .len = (uint32_t)len};
    return next + len;
}

static __attribute__((noinline)) const uint8_t *
read_text_any(struct upt_run *run, const uint8_t *p, struct upt_str *ret)
{
    const uint8_t *next = read_bytes(run, p, ret);
    if (next != NULL && !upt_utf8_valid(ret->p, ret->len)) {
        return bad(run, "a string that is not UTF-8", p);
    }
    return next;
}

/* Masks for windows of WIDE bytes: the top bits of the first n from WIDE − n on, of the last n from WIDE + n on. */
#define EIGHT(v) v, v, v, v, v, v, v, v
#define ALL(v) EIGHT(v), EIGHT(v), EIGHT(v), EIGHT(v)
static const uint8_t top_bits[3 * WIDE] = {ALL(0x80), ALL(0), ALL(0x80)};

typedef uint64_t sixteen __attribute__((vector_size(16)));

HOT sixteen
load_sixteen(const uint8_t *p)
{
    sixteen v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Not 0: a byte of the window that the mask selects is not ASCII. */
HOT uint64_t
masked(const uint8_t *p, const uint8_t *mask)
{
    sixteen high = (load_sixteen(p) & load_sixteen(mask)) | (load_sixteen(p + 16) & load_sixteen(mask + 16));
    return high[0] | high[1];
}

/* Likewise for more than WIDE bytes: their first WIDE and their last. */
HOT uint64_t
not_ascii(const uint8_t *p, uint32_t len)
{
    const uint8_t *q = p + len - WIDE;
    sixteen bits = load_sixteen(p) | load_sixteen(p + 16) | load_sixteen(q) | load_sixteen(q + 16);
    return (bits[0] | bits[1]) & TOP_BITS;
}

/* Text of up to 63 bytes that is ASCII, without a loop: a window of WIDE bytes that ends or begins with the text and
 * lies within the record is loaded whole and what is not the text's is masked. That it ends with the text is tried
 * first: this holds from an event's second text on, whatever the lengths, so that the branch is foreseen. */
HOT const uint8_t *
read_text(struct upt_run *run, const uint8_t *p, struct upt_str *ret)
{
    const uint8_t *end = run->end;
    if (p == end || (*p & 0x81) != 0) {
        return read_text_any(run, p, ret);
    }
    uint32_t len = *p >> 1;
    const uint8_t *text = p + 1;
    uint64_t high = 1;
    if (len > (size_t)(end - text)) {
        return read_text_any(run, p, ret);
    }
    if (len > WIDE) {
        high = not_ascii(text, len);
    } else if ((size_t)(text + len - run->begin) >= WIDE) {
        high = masked(text + len - WIDE, top_bits + WIDE + len);
    } else if ((size_t)(end - text) >= WIDE) {
        high = masked(text, top_bits + WIDE - len);
    }
    if (high != 0) {
        return read_text_any(run, p, ret);
    }
    *ret = (struct upt_str){.p = (const char *)text, .len = len};
    return text + len;
}

HOT const uint8_t *
take(struct upt_run *run, const uint8_t *p, uint32_t size)
{
    return size > (uint64_t)(run->end - p) ? bad(run, "truncated", p) : p + size;
}

/* A step that stands in no record's list. It has no name, so a fault gets none from it. */
HOT const uint8_t *
run_op(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    return run_list(run, op, 1, p);
}

/* ---- Containers ---- */

HOT const uint8_t *
enter(struct upt_run *run, const uint8_t *p)
{
    if (run->depth >= run->max_depth) {
        return fault(run, UPT_REASON_TOO_LARGE, "deeper than max_depth", p);
    }
    run->depth++;
    return p;
}

HOT const uint8_t *
leave(struct upt_run *run, const uint8_t *p)
{
    run->depth--;
    return p;
}

/* The head of a block. allowed: how many more items may come, less those of the block on return; NULL: any number. */
HOT const uint8_t *
read_block(struct upt_run *run, const uint8_t *p, uint64_t *allowed, struct block *ret)
{
    int64_t count = 0;
    const uint8_t *next = read_long(run, p, &count);
    if (next == NULL) {
        return NULL;
    }
    *ret = (struct block){.left = count < 0 ? 0 - (uint64_t)count : (uint64_t)count};
    if (allowed != NULL) {
        if (ret->left > *allowed) {
            return fault(run, UPT_REASON_TOO_LARGE, "more events than max_batch_events", p);
        }
        *allowed -= ret->left;
    }
    if (count < 0) {
        int64_t size = 0;
        next = read_long(run, next, &size);
        if (next == NULL) {
            return NULL;
        }
        if ((uint64_t)size > (uint64_t)(run->end - next)) {
            return bad(run, "a block's size that does not fit", p);
        }
        ret->stop = next + size;
    }
    return next;
}

HOT const uint8_t *
end_block(struct upt_run *run, const struct block *block, const uint8_t *p)
{
    return block->stop != NULL && block->stop != p ? bad(run, "a block's size that is not that of its items", p) : p;
}

static const uint8_t *
run_record(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    p = enter(run, p);
    if (p != NULL) {
        p = run_list(run, run->plan->ops + op->a, op->b, p);
    }
    return p == NULL ? NULL : leave(run, p);
}

/* Items that take no byte: all of a block at once. */
static const uint8_t *
run_empty(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    if (op->code == UPT_OP_EMPTY && op->a > run->max_depth - run->depth) {
        return fault(run, UPT_REASON_TOO_LARGE, "deeper than max_depth", p);
    }
    return p;
}

static const uint8_t *
run_array(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const struct upt_op *item = run->plan->ops + op->a;
    bool empty = item->code == UPT_OP_NONE || item->code == UPT_OP_EMPTY;
    struct block block = {.left = 1};
    p = enter(run, p);
    while (p != NULL) {
        p = read_block(run, p, NULL, &block);
        if (p != NULL && block.left == 0) {
            return leave(run, p);
        }
        if (empty && p != NULL) {
            p = run_empty(run, item, p);
            block.left = 0;
        }
        for (; p != NULL && block.left > 0; block.left--) {
            p = run_op(run, item, p);
        }
        if (p != NULL) {
            p = end_block(run, &block, p);
        }
    }
    return NULL;
}

static const uint8_t *
run_map(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const struct upt_op *value = run->plan->ops + op->a;
    struct upt_str key;
    struct block block;
    p = enter(run, p);
    while (p != NULL) {
        p = read_block(run, p, NULL, &block);
        if (p != NULL && block.left == 0) {
            return leave(run, p);
        }
        for (; p != NULL && block.left > 0; block.left--) {
            p = read_text(run, p, &key);
            if (p != NULL) {
                p = run_op(run, value, p);
            }
        }
        if (p != NULL) {
            p = end_block(run, &block, p);
        }
    }
    return NULL;
}

/* ---- The event ---- */

static const uint8_t *
run_props(struct upt_run *run, const uint8_t *p)
{
    const uint8_t *start = p;
    struct upt_str text;
    struct block block;
    p = enter(run, p);
    while (p != NULL) {
        p = read_block(run, p, NULL, &block);
        if (p != NULL && block.left == 0) {
            if (p - start > 1) {
                run->event->properties.raw = (struct upt_str){.p = (const char *)start, .len = (uint32_t)(p - start)};
            }
            return leave(run, p);
        }
        for (; p != NULL && block.left > 0; block.left--) {
            p = read_text(run, p, &text);
            if (p != NULL) {
                p = read_text(run, p, &text);
            }
        }
        if (p != NULL) {
            p = end_block(run, &block, p);
        }
    }
    return NULL;
}

static void
copy(struct upt_run *run, const uint8_t *p, const uint8_t *end)
{
    size_t len = (size_t)(end - p);
    memcpy(run->scratch + run->scratch_n, p, len);
    run->scratch_n += len;
}

/* Never longer than what it is made from: a positive count for the block's own, with a block's size left out. */
static void
copy_count(struct upt_run *run, uint64_t count)
{
    uint64_t raw = count << 1;
    for (; raw >= 0x80; raw >>= 7) {
        run->scratch[run->scratch_n++] = (char)(raw | 0x80);
    }
    run->scratch[run->scratch_n++] = (char)raw;
}

/* A map whose values are a union with strings: written anew without the branches' indexes. */
static const uint8_t *
run_copy_props(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const struct upt_op *value = run->plan->ops + op->a;
    size_t start = run->scratch_n;
    struct upt_str key;
    struct block block;
    p = enter(run, p);
    while (p != NULL) {
        p = read_block(run, p, NULL, &block);
        if (p == NULL) {
            return NULL;
        }
        copy_count(run, block.left);
        if (block.left == 0) {
            size_t len = run->scratch_n - start;
            if (len > 1) {
                run->event->properties.raw = (struct upt_str){.p = run->scratch + start, .len = (uint32_t)len};
            }
            return leave(run, p);
        }
        for (; p != NULL && block.left > 0; block.left--) {
            const uint8_t *from = p;
            p = read_text(run, p, &key);
            if (p != NULL) {
                copy(run, from, p);
                p = run_op(run, value, p);
            }
        }
        if (p != NULL) {
            p = end_block(run, &block, p);
        }
    }
    return NULL;
}

static const uint8_t *
run_copy_text(struct upt_run *run, const uint8_t *p)
{
    struct upt_str text;
    const uint8_t *next = read_text(run, p, &text);
    if (next != NULL) {
        copy(run, p, next);
    }
    return next;
}

static bool
grow_events(struct upt_run *run)
{
    uint32_t cap = run->events_cap == 0 ? 64 : run->events_cap * 2;
    struct upt_event *events = realloc(run->events, cap * sizeof(*events));
    if (events == NULL) {
        run->no_memory = true;
        return false;
    }
    run->events = events;
    run->events_cap = cap;
    return true;
}

HOT const uint8_t *
keep_integer(struct upt_run *run, const struct upt_op *op, const uint8_t *p, int64_t *ret)
{
    return op->a == 0 ? read_long(run, p, ret) : read_int(run, p, ret);
}

HOT const uint8_t *
keep_quantity(struct upt_run *run, const uint8_t *p)
{
    const uint8_t *next = take(run, p, 8);
    if (next != NULL) {
        uint64_t bits = load_le64(p);
        memcpy(&run->event->quantity, &bits, sizeof(bits));
    }
    return next;
}

static const uint8_t *
keep_number(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const uint8_t *next;
    if (op->a == UPT_AVRO_FLOAT) {
        next = take(run, p, 4);
        if (next != NULL) {
            uint32_t bits = load_le32(p);
            float number;
            memcpy(&number, &bits, sizeof(bits));
            run->event->quantity = (double)number;
        }
        return next;
    }
    int64_t number = 0;
    next = op->a == UPT_AVRO_INT ? read_int(run, p, &number) : read_long(run, p, &number);
    run->event->quantity = (double)number;
    return next;
}

HOT const uint8_t *
keep_kind(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    uint32_t index = 0;
    const uint8_t *next = read_index(run, p, op->b, "an enum's index out of range", &index);
    if (next != NULL) {
        run->event->kind = (upt_kind)run->plan->kinds[op->a + index];
    }
    return next;
}

HOT const uint8_t *
keep_text(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    struct upt_str *text = (struct upt_str *)(void *)((char *)run->event + op->a);
    const uint8_t *next = read_text(run, p, text);
    if (op->b != 0 && text->len == 0) {
        *text = UPT_STR_NULL;
    }
    return next;
}

/* ---- An event as usual ---- */

/* Which branch of a union of null and something is there. NULL: unusual. */
HOT const uint8_t *
usual_branch(struct upt_run *run, const uint8_t *p, bool *ret_value)
{
    if (p == NULL || p == run->end || (*p & ~2U) != 0) {
        return NULL;
    }
    *ret_value = *p != 0;
    return p + 1;
}

HOT const uint8_t *
usual_text(struct upt_run *run, const uint8_t *p, struct upt_str *ret)
{
    bool value = false;
    p = usual_branch(run, p, &value);
    *ret = UPT_STR_NULL;
    return value ? read_text(run, p, ret) : p;
}

HOT const uint8_t *
usual_kind(struct upt_run *run, uint32_t symbols, const uint8_t *p)
{
    if (p == NULL || p == run->end || (*p & 0x81) != 0 || *p / 2U >= symbols) {
        return NULL;
    }
    run->event->kind = (upt_kind)run->plan->kinds[*p / 2U];
    return p + 1;
}

HOT const uint8_t *
usual_duration(struct upt_run *run, const uint8_t *p)
{
    struct upt_event *event = run->event;
    p = usual_branch(run, p, &event->has_duration);
    event->duration_ms = 0;
    return p != NULL && event->has_duration ? read_long(run, p, &event->duration_ms) : p;
}

HOT const uint8_t *
usual_props(struct upt_run *run, const uint8_t *p)
{
    run->event->properties.raw = event_new.properties.raw;
    return p != run->end && *p == 0 ? p + 1 : run_props(run, p);
}

/* The fields in the order of the shipped schema, read as their steps would: the same reading without finding out at
 * each what it is, half the instructions. NULL: a fault, or something that is rare; the steps find out which. */
static const uint8_t *
run_usual(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const struct upt_op *steps = run->plan->ops + op->a;
    struct upt_event *event = run->event;
    run->depth++;
    p = read_text(run, p, &event->event_id);
    p = p == NULL ? NULL : read_long(run, p, &event->occurred_at);
    p = p == NULL ? NULL : read_text(run, p, &event->account_id);
    p = usual_text(run, p, &event->user_id);
    if (event->user_id.len == 0) {
        event->user_id = UPT_STR_NULL;
    }
    p = usual_kind(run, steps[UPT_USUAL_KIND].b, p);
    p = usual_text(run, p, &event->feature);
    p = p == NULL ? NULL : keep_quantity(run, p);
    p = usual_duration(run, p);
    p = p == NULL ? NULL : usual_props(run, p);
    if (p != NULL && op->b > UPT_USUAL_STEPS) {
        p = run_list(run, steps + UPT_USUAL_STEPS, op->b - UPT_USUAL_STEPS, p);
    }
    run->depth--;
    return p;
}

static const uint8_t *
run_event(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    if (run->events_n == run->events_cap && !grow_events(run)) {
        return bad(run, "out of memory", p);
    }
    run->event = &run->events[run->events_n];
    uint32_t depth = run->depth;
    const uint8_t *next = op->code == UPT_OP_USUAL && run->max_depth - depth >= 2 ? run_usual(run, op, p) : NULL;
    if (next == NULL) {
        run->depth = depth;
        run->reason = UPT_REASON_NONE;
        memcpy(run->event, &event_new, sizeof(event_new));
        next = run_record(run, op, p);
    }
    run->events_n += next != NULL;
    return next;
}

static const uint8_t *
run_events(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    const struct upt_op *item = run->plan->ops + op->a;
    uint64_t allowed = run->max_events;
    struct block block;
    p = enter(run, p);
    while (p != NULL) {
        p = read_block(run, p, &allowed, &block);
        if (p != NULL && block.left == 0) {
            return leave(run, p);
        }
        for (; p != NULL && block.left > 0; block.left--) {
            p = run_op(run, item, p);
        }
        if (p != NULL) {
            p = end_block(run, &block, p);
        }
    }
    return NULL;
}

/* ---- Steps ---- */

static const uint8_t *
run_rare(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    int64_t number;
    uint32_t index;
    struct upt_str text;
    switch (op->code) {
    case UPT_OP_BOOLEAN:
        return p == run->end ? bad(run, "truncated", p) : *p > 1 ? bad(run, "a boolean neither 0 nor 1", p) : p + 1;
    case UPT_OP_INT:
        return read_int(run, p, &number);
    case UPT_OP_LONG:
        return read_long(run, p, &number);
    case UPT_OP_FIXED:
        return take(run, p, op->a);
    case UPT_OP_BYTES:
        return read_bytes(run, p, &text);
    case UPT_OP_STRING:
        return read_text(run, p, &text);
    case UPT_OP_ENUM:
        return read_index(run, p, op->b, "an enum's index out of range", &index);
    case UPT_OP_ARRAY:
        return run_array(run, op, p);
    case UPT_OP_MAP:
        return run_map(run, op, p);
    case UPT_OP_RECORD:
        return run_record(run, op, p);
    case UPT_OP_NONE:
    case UPT_OP_EMPTY:
        return run_empty(run, op, p);
    case UPT_OP_KEEP_NUMBER:
        return keep_number(run, op, p);
    case UPT_OP_COPY_PROPS:
        return run_copy_props(run, op, p);
    case UPT_OP_COPY_TEXT:
        return run_copy_text(run, p);
    case UPT_OP_EVENT:
    case UPT_OP_USUAL:
        return run_event(run, op, p);
    case UPT_OP_EVENTS:
        return run_events(run, op, p);
    default:
        return bad(run, "a branch of a union that the reader does not have", p);
    }
}

/* The step of the union's branch that is there. NULL: a fault. */
HOT const struct upt_op *
branch_of(struct upt_run *run, const struct upt_op *op, const uint8_t **p)
{
    uint32_t index = 0;
    *p = read_index(run, *p, op->b, "a union's index out of range", &index);
    return *p == NULL ? NULL : run->plan->ops + op->a + index;
}

HOT const uint8_t *
step(struct upt_run *run, const struct upt_op *op, const uint8_t *p)
{
    if (op->code == UPT_OP_UNION) {
        op = branch_of(run, op, &p);
        if (op == NULL) {
            return NULL;
        }
    }
    switch (op->code) {
    case UPT_OP_KEEP_TEXT:
        return keep_text(run, op, p);
    case UPT_OP_KEEP_TIME:
        return keep_integer(run, op, p, &run->event->occurred_at);
    case UPT_OP_KEEP_DURATION:
        run->event->has_duration = true;
        return keep_integer(run, op, p, &run->event->duration_ms);
    case UPT_OP_KEEP_KIND:
        return keep_kind(run, op, p);
    case UPT_OP_KEEP_QUANTITY:
        return keep_quantity(run, p);
    case UPT_OP_KEEP_PROPS:
        return run_props(run, p);
    case UPT_OP_NONE:
        return p;
    default:
        return run_rare(run, op, p);
    }
}

static const uint8_t *
run_list(struct upt_run *run, const struct upt_op *op, uint32_t count, const uint8_t *p)
{
    for (const struct upt_op *last = op + count; op != last; op++) {
        p = step(run, op, p);
        if (p == NULL) {
            if (run->field[0] == '\0') {
                run->field = run->plan->names + op->name; /* the innermost */
            }
            return NULL;
        }
    }
    return p;
}

upt_reason
upt_plan_run(const struct upt_plan *plan, struct upt_run *run, struct upt_str body)
{
    run->plan = plan;
    run->begin = (const uint8_t *)(body.p == NULL ? "" : body.p);
    run->end = run->begin + body.len;
    run->events_n = 0;
    run->scratch_n = 0;
    run->depth = 0;
    run->no_memory = false;
    run->reason = UPT_REASON_NONE;
    run->field = "";
    if (plan->copies && run->scratch_cap < body.len) {
        char *scratch = realloc(run->scratch, body.len);
        if (scratch == NULL) {
            run->no_memory = true;
            (void)bad(run, "out of memory", run->begin);
            return run->reason;
        }
        run->scratch = scratch;
        run->scratch_cap = body.len;
    }
    const struct upt_op *root = &plan->root;
    const uint8_t *p = plan->batch ? run_op(run, root, run->begin) : run_event(run, root, run->begin);
    if (p != NULL && p != run->end) {
        (void)bad(run, "bytes left over", p);
    }
    return run->reason;
}
