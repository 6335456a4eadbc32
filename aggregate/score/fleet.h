/* The accounts of a partition as a whole: how many were key-active on which day, and whether one of these days was an
 * outage (a holiday, a broken feed). Private to the room.
 *
 * Counted where an account is first marked active on a day, judged once a day, kept in the partition's checkpoint. */
#ifndef UPT_SCORE_FLEET_H
#define UPT_SCORE_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "uptake/str.h"

struct upt_decision;
struct upt_score;

#define UPT_FLEET_DAYS 36
#define UPT_FLEET_ACCOUNT "_fleet" /* DATA_QUALITY alerts are of this account, subject "partition N" */

struct upt_fleet {
    bool has_day;
    int64_t day;                     /* newest in active */
    uint32_t active[UPT_FLEET_DAYS]; /* accounts with a key event on day d, at d mod UPT_FLEET_DAYS */
    uint64_t outages;                /* bit i: day `judged − i` was one */
    int64_t judged;                  /* last day judged; valid if has_judged */
    bool has_judged;
    double steady;       /* seen / expected, at most 1, of the last day judged that was no outage; 0: none yet */
    bool open;           /* DATA_QUALITY */
    uint32_t opened_min; /* of it */
    uint16_t revision;
};

void upt_fleet_mark(struct upt_fleet *fleet, int64_t day);
/* Judges the days before today that are not judged yet, and says so with DATA_QUALITY. */
void upt_fleet_daily(struct upt_decision *d);
/* The day was an outage, as judged. */
bool upt_fleet_outage(const struct upt_fleet *fleet, int64_t day);
/* Yesterday was an outage, or today is one so far (told from noon on). */
bool upt_fleet_holds(const struct upt_score *score, int64_t now);

/* One of the 7 days judged last was an outage. */
bool upt_fleet_lately(const struct upt_fleet *fleet);

#define UPT_FLEET_VERSION 1
void upt_fleet_encode(const struct upt_fleet *fleet, struct upt_buf *out);
bool upt_fleet_decode(struct upt_fleet *fleet, struct upt_cur *cur);

#endif
