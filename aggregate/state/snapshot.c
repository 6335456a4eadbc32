/* Consistent snapshots at one position, taken in steps while the state goes on.
 *
 * At begin the lists of what changed since the last snapshot become the lists of what is to be serialised. An account
 * that changes before its turn is serialised at that moment, before the change (copy on write): the bytes are those of
 * the snapshot's position whenever they are made. Buckets and bitmaps are stored absolutely, so a clock that has moved
 * on, but not touched the account, changes nothing. A forgotten account leaves a tombstone for the next snapshot. */
#include <stdlib.h>
#include <string.h>

#include "aggregate/state/internal.h"

static void
save_account(struct upt_state *st, struct upt_account *acct)
{
    acct->snap = false;
    upt_codec_account(st, acct, &st->early);
    upt_list_put(&st->snapped, upt_text_copy(upt_account_id(acct)));
}

void
upt_snapshot_before(struct upt_state *st, struct upt_account *acct)
{
    if (acct->snap) {
        save_account(st, acct); /* its entry in the list is passed over later */
    }
}

static void
save_feature(struct upt_state *st, struct upt_feature *f)
{
    f->snap = false;
    upt_codec_feature(st, f, &st->early);
    upt_list_put(&st->snapped_features, f);
}

void
upt_snapshot_before_feature(struct upt_state *st, struct upt_feature *f)
{
    if (f->snap) {
        save_feature(st, f);
    }
}

void
upt_snapshot_before_totals(struct upt_state *st)
{
    if (st->totals_snap) {
        st->totals_snap = false;
        upt_codec_totals(st, &st->early);
    }
}

void
upt_snapshot_gone(struct upt_state *st, struct upt_account *acct)
{
    upt_snapshot_before(st, acct);
    upt_codec_tombs(acct, &st->tombs);
}

static void
move_list(struct upt_list *to, struct upt_list *from)
{
    for (void *what; (what = upt_list_take(from)) != NULL;) {
        upt_list_put(to, what);
    }
}

void
upt_state_snapshot_begin(struct upt_state *st, bool all)
{
    struct upt_account *acct;
    struct upt_feature *f;
    for (uint32_t i = 0; all && i < st->accounts.n; i++) {
        upt_list_put(&st->snap, st->accounts.v[i]);
        st->accounts.v[i]->snap = true;
        st->accounts.v[i]->changed = false;
    }
    for (uint32_t i = 0; all && i < st->features_n; i++) {
        upt_list_put(&st->snap_features, st->features[i]);
        st->features[i]->snap = true;
        st->features[i]->changed = false;
    }
    while ((acct = upt_list_take(&st->changed)) != NULL) {
        if (!acct->snap) {
            acct->snap = true;
            upt_list_put(&st->snap, acct);
        }
        acct->changed = false;
    }
    while ((f = upt_list_take(&st->changed_features)) != NULL) {
        if (!f->snap) {
            f->snap = true;
            upt_list_put(&st->snap_features, f);
        }
        f->changed = false;
    }
    st->totals_snap = st->totals_changed || all;
    st->totals_changed = false;
    /* Tombstones first: an account born again since comes after its own. */
    for (char *key; (key = upt_list_take(&st->tombs)) != NULL;) {
        upt_list_put(&st->early, key);
        upt_list_put(&st->early, upt_text_copy((struct upt_str){.p = "", .len = 0}));
        upt_list_put(&st->snapped_tombs, upt_text_copy(upt_text_of(key)));
    }
    st->snapshot = true;
}

static void
free_texts(struct upt_list *list)
{
    for (char *text; (text = upt_list_take(list)) != NULL;) {
        free(text);
    }
}

bool
upt_state_snapshot_next(struct upt_state *st, struct upt_buf *key, struct upt_buf *value)
{
    upt_buf_clear(key);
    upt_buf_clear(value);
    if (!st->snapshot) {
        return false;
    }
    char *text = upt_list_take(&st->early);
    if (text == NULL) {
        struct upt_account *acct = NULL;
        struct upt_feature *f = NULL;
        while ((acct = upt_list_take(&st->snap)) != NULL && !acct->snap) {
        }
        while (acct == NULL && (f = upt_list_take(&st->snap_features)) != NULL && !f->snap) {
        }
        if (acct != NULL) {
            save_account(st, acct);
        } else if (f != NULL) {
            save_feature(st, f);
        } else {
            upt_snapshot_before_totals(st);
        }
        text = upt_list_take(&st->early);
    }
    if (text == NULL) {
        st->snapshot = false;
        return false;
    }
    char *bytes = upt_list_take(&st->early);
    upt_buf_put(key, upt_text_of(text).p, upt_text_of(text).len);
    upt_buf_put(value, upt_text_of(bytes).p, upt_text_of(bytes).len);
    free(text);
    free(bytes);
    return true;
}

bool
upt_state_snapshot_active(const struct upt_state *st)
{
    return st->snapshot;
}

/* What the last snapshot took counts as changed again. */
void
upt_state_snapshot_failed(struct upt_state *st)
{
    struct upt_account *acct;
    struct upt_feature *f;
    free_texts(&st->early);
    while ((acct = upt_list_take(&st->snap)) != NULL) {
        acct->snap = false;
        if (!acct->changed) {
            acct->changed = true;
            upt_list_put(&st->changed, acct);
        }
    }
    for (char *id; (id = upt_list_take(&st->snapped)) != NULL; free(id)) {
        acct = upt_state_find(st, upt_text_of(id));
        if (acct != NULL && !acct->changed) {
            acct->changed = true;
            upt_list_put(&st->changed, acct);
        }
    }
    move_list(&st->snap_features, &st->snapped_features);
    while ((f = upt_list_take(&st->snap_features)) != NULL) {
        f->snap = false;
        if (!f->changed) {
            f->changed = true;
            upt_list_put(&st->changed_features, f);
        }
    }
    move_list(&st->tombs, &st->snapped_tombs);
    st->totals_changed = true;
    st->totals_snap = false;
    st->snapshot = false;
}

void
upt_state_snapshot_stored(struct upt_state *st)
{
    free_texts(&st->snapped);
    free_texts(&st->snapped_tombs);
    st->snapped_features.head = st->snapped_features.n = 0;
}

void
upt_snapshot_fini(struct upt_state *st)
{
    free_texts(&st->early);
    free_texts(&st->snapped);
    free_texts(&st->snapped_tombs);
    free_texts(&st->tombs);
    upt_list_fini(&st->early);
    upt_list_fini(&st->snapped);
    upt_list_fini(&st->snapped_tombs);
    upt_list_fini(&st->tombs);
    upt_list_fini(&st->snapped_features);
    upt_list_fini(&st->changed);
    upt_list_fini(&st->changed_features);
    upt_list_fini(&st->snap);
    upt_list_fini(&st->snap_features);
}
