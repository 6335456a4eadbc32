/* The people of an account whom a person has been in touch with, each with the day of the last time.
 *
 * Kept are the UPT_STAKEHOLDERS_MAX with the latest days: of those within any number of days so many are counted
 * exactly, whatever the order of arrival. By hashes of 32 bits, grown one by one: few accounts name many. */
#include "aggregate/state/state.h"
#include "codec.h"
#include "signals.h"

void
upt_stakeholder_note(struct upt_state *st, struct upt_relation *r, struct upt_str name, int32_t day)
{
    uint32_t hash = (uint32_t)upt_hash(name.p, name.len);
    int earliest = 0;
    for (int i = 0; i < r->stakeholders_n; i++) {
        struct upt_stakeholder *known = &r->stakeholders[i];
        if (known->hash == hash) {
            known->day = day > known->day ? day : known->day;
            return;
        }
        earliest = known->day < r->stakeholders[earliest].day ? i : earliest;
    }
    if (r->stakeholders_n < UPT_STAKEHOLDERS_MAX) {
        size_t n = r->stakeholders_n;
        r->stakeholders =
            upt_state_resize(st, r->stakeholders, n * sizeof(*r->stakeholders), (n + 1) * sizeof(*r->stakeholders));
        r->stakeholders[r->stakeholders_n++] = (struct upt_stakeholder){.hash = hash, .day = day};
    } else if (day > r->stakeholders[earliest].day) {
        r->stakeholders[earliest] = (struct upt_stakeholder){.hash = hash, .day = day};
    }
}

int
upt_stakeholders_since(const struct upt_relation *r, int64_t day)
{
    int n = 0;
    for (int i = 0; i < r->stakeholders_n; i++) {
        n += r->stakeholders[i].day >= day;
    }
    return n;
}

void
upt_stakeholders_fields(struct upt_codec *codec, struct upt_relation *r)
{
    for (int i = 0; i < r->stakeholders_n; i++) {
        UPT_INT(r->stakeholders[i].hash, uint32_t, 4);
        UPT_INT(r->stakeholders[i].day, int32_t, 4);
    }
}
