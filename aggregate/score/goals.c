/* The goals of an account: names in the trait `goals`, each with a date, a target, both or neither (schemas/README.md).
 *
 * What is behind `=` or `@` and is no number or date belongs to the name, so that a list of plain names means what it
 * always did. Sums are whole millionths, so that their order does not matter.
 *
 * Pure: reads the state. The lane's thread. */
#include <math.h>

#include "decide.h"
#include "uptake/time.h"
#include "uptake/units.h"

struct goal {
    struct upt_str name;
    bool has_due;
    int64_t due;    /* day */
    int64_t target; /* millionths; 0: none */
    uint64_t units; /* of its VALUE events, millionths */
    bool reached;
};

static void
take_date(struct goal *goal)
{
    struct upt_str before, behind;
    if (!goal->has_due && upt_name_cut(goal->name, '@', &before, &behind) &&
        upt_parse_day(behind.p, behind.len, &goal->due)) {
        goal->has_due = true;
        goal->name = before;
    }
}

static void
take_target(struct goal *goal)
{
    struct upt_str before, behind;
    if (goal->target != 0 || !upt_name_cut(goal->name, '=', &before, &behind)) {
        return;
    }
    double units = upt_number_of(behind);
    if (units > 0 && units <= UPT_GOAL_UNITS_MAX) {
        goal->target = upt_micro_from_double(units);
        goal->name = before;
    }
}

static struct goal
read_goal(const struct upt_relation *r, struct upt_str text)
{
    struct goal goal = {.name = text};
    take_date(&goal);
    take_target(&goal);
    take_date(&goal); /* in either order */
    uint16_t hash = (uint16_t)upt_hash(goal.name.p, goal.name.len);
    for (int i = 0; r != NULL && i < r->goals_n; i++) {
        if (r->goals[i] == hash) {
            goal.units = r->goal_units[i];
            goal.reached = goal.target == 0 || goal.units >= (uint64_t)goal.target;
        }
    }
    return goal;
}

static void
add_up(struct upt_goals *goals, const struct goal *goal, int64_t today)
{
    goals->n++;
    goals->reached += goal->reached;
    goals->dated += goal->has_due;
    if (goal->has_due && !goal->reached) {
        goals->late += goal->due < today;
        if (!goals->has_next || goal->due < goals->next) {
            goals->has_next = true;
            goals->next = goal->due;
            goals->next_name = goal->name;
        }
    }
}

void
upt_goals_read(const struct upt_decision *d, struct upt_goals *ret)
{
    struct upt_str list = upt_account_trait(d->acct, UPT_STR("goals"));
    struct upt_str text;
    double sum = 0;
    int targets = 0;
    *ret = (struct upt_goals){.listed = list.p != NULL, .progress = (double)NAN};
    for (uint32_t at = 0; list.p != NULL && ret->n < UPT_GOALS_MAX && upt_name_next(list, &at, &text);) {
        struct goal goal = read_goal(d->ext->signals.relation, text);
        add_up(ret, &goal, d->eval->today);
        if (goal.target > 0) {
            sum += fmin(1, (double)goal.units / (double)goal.target);
            targets++;
        }
    }
    if (targets > 0) {
        ret->progress = sum / targets;
    }
}
