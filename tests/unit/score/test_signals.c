/* Signals by hand: what an event leaves behind, what is published of it, and that what is not known is left out. */
#include <stdio.h>

#include "harness.h"

static int64_t
at(int day)
{
    return (DAY0 + day) * UPT_DAY_MS + 12 * UPT_HOUR_MS;
}

static void
event(struct world *w, int day, upt_kind kind, const char *feature, const char *user, double quantity)
{
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = UPT_STR("a"),
                           .user_id = upt_str_of(user),
                           .feature = upt_str_of(feature),
                           .occurred_at = at(day),
                           .quantity = quantity,
                           .kind = kind};
    int64_t clock = upt_state_clock(w->st);
    upt_state_begin(w->st, w->offset++, clock != UPT_NO_CLOCK && clock > at(day) ? clock : at(day));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

/* The value of a component as explained now; NaN: it is not there. */
static double
value(struct world *w, const char *name)
{
    struct upt_health health;
    upt_score_explain(w->score, w->st, world_account(w, "a"), &health);
    for (int i = UPT_PARTS; i < health.components_n; i++) {
        if (upt_str_eq(health.components[i].name, upt_str_of(name))) {
            return health.components[i].value;
        }
    }
    return (double)NAN;
}

#define IS(name, expected) assert_true(fabs(value(w, name) - (expected)) < 2e-6)
#define ABSENT(name) assert_true(isnan(value(w, name)))

static void
beginnings(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "contract_start", "2025-01-03"); /* day 2 */
    world_profile(w, "a", 0, "onboarding_steps", "x,y");
    ABSENT("time_to_first_key_action");
    IS("onboarding_completion", 0);
    ABSENT("onboarding_days");
    event(w, 3, UPT_KIND_ONBOARDING_STEP, "x", "ann", 1);
    event(w, 6, UPT_KIND_USAGE, "f", "ann", 1);
    event(w, 9, UPT_KIND_ONBOARDING_STEP, "y", "ann", 1);
    world_to(w, 10, 0, 59);
    IS("onboarding_completion", 1);
    IS("onboarding_days", 7);
    IS("onboarding_in_time", 1);
    IS("time_to_first_key_action", 4);
    ABSENT("time_to_basic_value");
    event(w, 1, UPT_KIND_VALUE, "hours", "ann", 1); /* late, and before the contract: trials */
    IS("time_to_basic_value", -1);
    ABSENT("time_to_exceeded_value");
    IS("goals_reached", 1);
    event(w, 10, UPT_KIND_USAGE, "g", "ann", 1);
    event(w, 14, UPT_KIND_USAGE, "h", "ann", 1);
    world_to(w, 15, 0, 59);
    IS("time_to_features", 10); /* 6, 10 and 14 days after the first event */
    event(w, -5, UPT_KIND_LOGIN, NULL, "ann", 1);
    IS("time_to_features", 15); /* which is known since now to have been five days sooner */
    world_profile(w, "a", 15, "plan", "trial");
    world_profile(w, "a", 15, "ttv_class", "SHORT"); /* 30 days · ½ · ½ */
    world_to(w, 16, 0, 59);
    IS("onboarding_in_time", 1);
    world_profile(w, "a", 16, "contract_start", "2025-01-01"); /* day 0: nine days */
    IS("onboarding_in_time", 0);
    world_profile(w, "a", 16, "plan", "poc"); /* has the time of a customer */
    IS("onboarding_in_time", 1);
    world_free(w);
}

/* The first 16 are known; one without a name is none. */
static void
steps(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    char name[] = "a";
    world_profile(w, "a", 0, "onboarding_steps", "p");
    event(w, 0, UPT_KIND_ONBOARDING_STEP, NULL, "ann", 1);
    for (; name[0] < 'q'; name[0]++) {
        IS("onboarding_completion", 0);
        event(w, 1, UPT_KIND_ONBOARDING_STEP, name, "ann", 1);
    }
    IS("onboarding_completion", 1);
    event(w, 1, UPT_KIND_ONBOARDING_STEP, name, "ann", 1);
    world_profile(w, "a", 1, "onboarding_steps", "p,q");
    IS("onboarding_completion", 0.5);
    world_free(w);
}

static void
people(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_use(w, "a", 0, "f", 1);
    ABSENT("adopted_users");
    ABSENT("users_high");
    ABSENT("champion_days");
    for (int d = 1; d <= 28; d++) {
        event(w, d, UPT_KIND_USAGE, "f", "ann", 1);
        if (d % 4 == 0) {
            event(w, d, UPT_KIND_USAGE, "g", "bob", 1);
        }
    }
    event(w, 28, UPT_KIND_USAGE, "f", "cid", 1);
    event(w, 28, UPT_KIND_LOGIN, NULL, "dan", 1);
    IS("users_high", 1);
    IS("users_medium", 1);
    IS("users_low", 1);
    IS("adopted_users", 2);
    IS("adoption_rate_28d", 2.0 / 3); /* of the active; adoption_rate of the row is of all four */
    ABSENT("training_share");
    event(w, 28, UPT_KIND_TRAINING, "basics", "dan", 1);
    event(w, 28, UPT_KIND_TRAINING, "advanced", "dan", 1);
    IS("training_share", 0.25);
    IS("adoption_rate_month", 1); /* day 28 is 2025-01-29: 2 to 28 January; ann and bob adopted, nobody else there */
    /* 29 days of f in the window of 30, 7 of g */
    double p = 29.0 / 36;
    IS("effective_features", exp(-p * log(p) - (1 - p) * log(1 - p)));
    world_to(w, 30, 0, 59);
    IS("champion_days", 27); /* as chosen on its last weekly day */
    world_restart(w);
    IS("training_share", 0.25);
    event(w, 30, UPT_KIND_USER_REMOVED, NULL, "dan", 1);
    IS("training_share", 0); /* there is training, and nobody has it */
    IS("users_high", 1);
    world_free(w);
}

static void
care(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "f", "ann", 1);
    ABSENT("tickets");
    ABSENT("nps");
    ABSENT("csat");
    ABSENT("days_since_contact");
    ABSENT("contacts");
    event(w, 1, UPT_KIND_TICKET_OPENED, NULL, NULL, 1);
    event(w, 8, UPT_KIND_TICKET_OPENED, NULL, NULL, 1);
    event(w, 9, UPT_KIND_TICKET_CLOSED, NULL, NULL, 1);
    IS("tickets", 2);
    IS("tickets_per_user", 2);
    IS("tickets_open", 1);
    ABSENT("time_to_close"); /* how long it took was not said */
    struct upt_event closed = {.event_id = UPT_STR(""),
                               .account_id = UPT_STR("a"),
                               .occurred_at = at(9),
                               .duration_ms = 36 * UPT_HOUR_MS,
                               .has_duration = true,
                               .quantity = 1,
                               .kind = UPT_KIND_TICKET_CLOSED};
    upt_state_begin(w->st, w->offset++, at(9));
    assert_true(upt_state_apply(w->st, closed.account_id, &closed));
    IS("time_to_close", 1.5);
    event(w, 10, UPT_KIND_SURVEY, "nps", NULL, 10);
    event(w, 10, UPT_KIND_SURVEY, "nps", NULL, 10);
    event(w, 10, UPT_KIND_SURVEY, "nps", NULL, 7);
    event(w, 10, UPT_KIND_SURVEY, "nps", NULL, 3);
    IS("nps", 25);
    IS("nps_answers", 4);
    event(w, 10, UPT_KIND_SURVEY, "csat", NULL, 5);
    event(w, 10, UPT_KIND_SURVEY, "csat", NULL, 2);
    IS("csat", 3.5);
    world_to(w, 100, 12, 0);
    event(w, 100, UPT_KIND_SURVEY, "csat", NULL, 5); /* what is 90 days old counts half */
    IS("csat", (5 * 0.5 + 2 * 0.5 + 5) / 2);
    IS("csat_answers", 3);
    IS("nps", 25);
    IS("tickets", 0);
    event(w, 98, UPT_KIND_CONTACT, NULL, NULL, 1);
    event(w, 95, UPT_KIND_CONTACT, NULL, NULL, 1);
    IS("days_since_contact", 2);
    IS("contacts", 2);
    world_free(w);
}

/* How often it comes, and where that is among those that stayed. */
static void
habits(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    for (int d = 0; d <= 28; d += 7) {
        event(w, d, UPT_KIND_USAGE, "f", "ann", 1);
    }
    double weight = 1 + 0.95 + 0.95 * 0.95 + 0.95 * 0.95 * 0.95; /* of four gaps of a week */
    double k = w->model->silence.gap_weight;
    IS("natural_gap", exp(upt_round6((weight * log(7) + k * w->model->silence.gap_mean) / (weight + k))));
    IS("cadence", 7);
    world_to(w, 200, 0, 59); /* long after the last: fewer days and features than any that stayed */
    IS("adoption_percentile", 0);
    for (int d = 200; d < 260; d++) {
        for (char name[] = "a"; name[0] <= 'j'; name[0]++) {
            event(w, d, UPT_KIND_USAGE, name, "ann", 1);
        }
    }
    IS("adoption_percentile", 1);
    world_free(w);
}

/* The order of arrival does not matter. */
static void
late_answers(void **state)
{
    (void)state;
    struct world *a = world_new(NULL);
    struct world *b = world_new(NULL);
    for (int i = 0; i < 2; i++) {
        struct world *w = i == 0 ? a : b;
        event(w, 0, UPT_KIND_USAGE, "f", "ann", 1);
        world_to(w, 20, 12, 0);
        event(w, i == 0 ? 2 : 18, UPT_KIND_SURVEY, "csat", NULL, i == 0 ? 1 : 4);
        event(w, i == 0 ? 18 : 2, UPT_KIND_SURVEY, "csat", NULL, i == 0 ? 4 : 1);
        event(w, i == 0 ? 2 : 18, UPT_KIND_TICKET_OPENED, NULL, NULL, 1);
        event(w, i == 0 ? 18 : 2, UPT_KIND_TICKET_OPENED, NULL, NULL, 1);
    }
    assert_true(fabs(value(a, "csat") - value(b, "csat")) < 1e-5);
    assert_true(fabs(value(a, "tickets") - 2) < 1e-9 && fabs(value(b, "tickets") - 2) < 1e-9);
    world_free(a);
    world_free(b);
}

static void
contract(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "f", "ann", 30);
    ABSENT("days_to_renewal");
    ABSENT("contract_value");
    ABSENT("consumption_share");
    world_profile(w, "a", 0, "renewal_date", "2025-03-12"); /* day 70 */
    world_profile(w, "a", 0, "contract_value", "50k");
    ABSENT("contract_value");
    world_profile(w, "a", 0, "contract_value", "0x10");
    ABSENT("contract_value");
    world_profile(w, "a", 0, "contract_value", " 7");
    ABSENT("contract_value");
    world_profile(w, "a", 0, "contract_value", "50000");
    world_profile(w, "a", 0, "entitlement", "120");
    IS("days_to_renewal", 70);
    IS("contract_value", 50000);
    IS("consumption_share", 0.25);
    world_free(w);
}

/* Days of use of what only the proficient use, of all. */
static void
proficient(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "pivot", NULL, 1);
    ABSENT("proficiency"); /* nobody said what is complicated */
    world_free(w);
    w = world_new("proficiency: {features: \"macros, pivot,Board\"}\n");
    event(w, 0, UPT_KIND_USAGE, NULL, NULL, 1);
    ABSENT("proficiency");
    event(w, 0, UPT_KIND_USAGE, "board", NULL, 1);
    IS("proficiency", 0);
    for (int day = 1; day <= 3; day++) {
        event(w, day, UPT_KIND_USAGE, "board", NULL, 1);
    }
    event(w, 3, UPT_KIND_USAGE, "pivot", NULL, 9);
    IS("proficiency", 0.2);
    world_to(w, 40, 0, 59);
    ABSENT("proficiency");
    world_free(w);
}

/* Who came after onboarding was done, and was shown nothing; the trained, and who did a step, are none of them. */
static void
inherited(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "onboarding_steps", "x");
    event(w, 0, UPT_KIND_USAGE, "f", "ann", 1);
    event(w, 1, UPT_KIND_LOGIN, NULL, "bob", 1);
    event(w, 1, UPT_KIND_ONBOARDING_STEP, "x", "ann", 1);
    ABSENT("inherited_share");
    world_to(w, 2, 0, 59);
    IS("inherited_share", 0);
    event(w, 2, UPT_KIND_USAGE, "f", "bob", 1); /* was there, though not active */
    event(w, 3, UPT_KIND_USAGE, "f", "cid", 1);
    event(w, 3, UPT_KIND_USAGE, "f", "dan", 1);
    IS("inherited_share", 0.5);
    event(w, 3, UPT_KIND_TRAINING, "basics", "dan", 1);
    IS("inherited_share", 0.25);
    event(w, 3, UPT_KIND_USAGE, "f", "eve", 1);
    event(w, 3, UPT_KIND_ONBOARDING_STEP, "x", "eve", 1);
    IS("inherited_share", 0.2);
    world_restart(w);
    IS("inherited_share", 0.2);
    event(w, 3, UPT_KIND_USER_REMOVED, NULL, "cid", 1);
    IS("inherited_share", 0);
    event(w, 3, UPT_KIND_USER_REMOVED, NULL, "ann", 1);
    world_to(w, 40, 0, 59); /* ann and cid are forgotten, the others active no more */
    ABSENT("inherited_share");
    event(w, 40, UPT_KIND_USAGE, "f", "ann", 1);
    event(w, 40, UPT_KIND_USAGE, "f", "bob", 1);
    IS("inherited_share", 0.5);
    world_free(w);
}

static void
contact(struct world *w, int day, const char *props, size_t len, const char *user)
{
    struct upt_event ev = {.event_id = UPT_STR(""),
                           .account_id = UPT_STR("a"),
                           .user_id = upt_str_of(user),
                           .occurred_at = at(day),
                           .quantity = 1,
                           .properties = {.raw = {.p = props, .len = (uint32_t)len}},
                           .kind = UPT_KIND_CONTACT};
    int64_t clock = upt_state_clock(w->st);
    upt_state_begin(w->st, w->offset++, clock > at(day) ? clock : at(day));
    assert_true(upt_state_apply(w->st, ev.account_id, &ev));
}

/* Whom a person was in touch with: by the property or the user, each once, by the last time, the latest 16. */
static void
stakeholders(void **state)
{
    (void)state;
    static const char cfo[] = "\2\26stakeholder\6cfo";
    static const char robot[] = "\2\12human\12false";
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "f", "ann", 1);
    world_profile(w, "a", 0, "stakeholders", "4");
    event(w, 1, UPT_KIND_CONTACT, NULL, NULL, 1); /* with nobody by name */
    contact(w, 1, robot, sizeof(robot), "ann");
    ABSENT("stakeholders_28d");
    ABSENT("stakeholders_share");
    contact(w, 1, cfo, sizeof(cfo), "ann"); /* ann was there, it was with another */
    contact(w, 2, NULL, 0, "bob");
    contact(w, 3, NULL, 0, "bob");
    contact(w, 3, cfo, sizeof(cfo), NULL);
    IS("stakeholders_28d", 2);
    IS("stakeholders_share", 0.5);
    contact(w, 1, NULL, 0, "bob"); /* late: what is known of later days stays */
    world_to(w, 30, 0, 59);
    world_restart(w);
    IS("stakeholders_28d", 2);
    world_to(w, 31, 0, 59);
    IS("stakeholders_28d", 0);
    contact(w, 31, NULL, 0, "ann");
    IS("stakeholders_28d", 1);
    for (char name[] = "A"; name[0] <= 'T'; name[0]++) {
        contact(w, 32 + (name[0] - 'A') / 10, NULL, 0, name);
    }
    IS("stakeholders_28d", 16); /* of 21 */
    contact(w, 12, NULL, 0, "eve");
    world_to(w, 60, 0, 59);
    IS("stakeholders_28d", 10); /* those of day 33, not the earlier ones */
    world_profile(w, "a", 60, "stakeholders", "0");
    ABSENT("stakeholders_share");
    world_free(w);
}

/* Dates and targets of goals, each with or without the other; a plain list is what it was. */
static void
goals(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "goals", "hours saved, cost cut");
    event(w, 0, UPT_KIND_VALUE, "cost cut", NULL, 30);
    ABSENT("goals_late");
    ABSENT("days_to_goal");
    ABSENT("goal_progress");
    world_profile(w, "a", 0, "goals",
                  "hours saved = 500 @2025-01-11,cost cut@2025-01-06, reports=8,a@b=c"); /* day 10, 5 */
    world_to(w, 5, 0, 59);
    IS("days_to_goal", 5); /* the other one is reached */
    IS("goals_late", 0);
    IS("goal_progress", 0);
    event(w, 5, UPT_KIND_VALUE, "hours saved", NULL, 120.5);
    event(w, 2, UPT_KIND_VALUE, "hours saved", NULL, 4.5);
    event(w, 5, UPT_KIND_VALUE, "reports", NULL, 9);
    IS("goal_progress", (0.25 + 1) / 2);
    assert_true(fabs(world_eval(w, "a").value[UPT_PART_OUTCOMES] - 0.5) < 1e-6); /* cost cut and reports, of four */
    world_restart(w);
    IS("goal_progress", (0.25 + 1) / 2);
    world_to(w, 10, 0, 59);
    IS("goals_late", 0); /* its day is not over */
    world_to(w, 11, 0, 59);
    IS("goals_late", 1);
    IS("days_to_goal", -1);
    event(w, 11, UPT_KIND_VALUE, "hours saved", NULL, 375);
    IS("goals_late", 0);
    ABSENT("days_to_goal");
    IS("goal_progress", 1);
    event(w, 11, UPT_KIND_VALUE, "a@b=c", NULL, 1); /* no date, no number: a name */
    assert_true(fabs(world_eval(w, "a").value[UPT_PART_OUTCOMES] - 1) < 1e-6);
    world_profile(w, "a", 11, "goals", "hours saved=1e12,reports@2025-1-1,=5,costs=0,more=2e12");
    for (int i = 0; i < 1001; i++) {
        event(w, 11, UPT_KIND_VALUE, "hours saved", NULL, 1e9);
    }
    IS("goal_progress", 1); /* the only target: what is none belongs to the name */
    ABSENT("goals_late");
    event(w, 11, UPT_KIND_VALUE, "reports@2025-1-1", NULL, 1);
    event(w, 11, UPT_KIND_VALUE, "=5", NULL, 1);
    event(w, 11, UPT_KIND_VALUE, "costs=0", NULL, 1);
    event(w, 11, UPT_KIND_VALUE, "more=2e12", NULL, 1);
    assert_true(fabs(world_eval(w, "a").value[UPT_PART_OUTCOMES] - 1) < 1e-6);
    world_free(w);
}

/* Units of the 30 UTC days up to today, of each feature that is listed, since it is. */
static void
meters(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "files", NULL, 500); /* of before the list */
    ABSENT("meters_over");
    ABSENT("meter_share_max");
    world_profile(w, "a", 1, "entitlements",
                  "files = 1000, flows=20, =5,sites,seats=0,rows=-1,cells=1e16,files=1,a=b=4e0,much=x");
    IS("meters_over", 0);
    IS("meter_share_max", 0);
    event(w, 1, UPT_KIND_USAGE, "files", NULL, 100.5);
    event(w, -3, UPT_KIND_USAGE, "files", NULL, 99.5); /* late */
    event(w, 1, UPT_KIND_VALUE, "files", NULL, 1000);
    event(w, 1, UPT_KIND_USAGE, NULL, NULL, 1000);
    event(w, 1, UPT_KIND_USAGE, "sites", NULL, 1000);
    IS("meter_share_max", 0.2);
    event(w, 2, UPT_KIND_USAGE, "flows", NULL, 19);
    event(w, 3, UPT_KIND_USAGE, "a=b", NULL, 5);
    IS("meters_over", 1);
    IS("meter_share_max", 1.25);
    event(w, 4, UPT_KIND_USAGE, "flows", NULL, 1);
    IS("meters_over", 2);
    world_profile(w, "a", 4, "entitlements", "flows=40,files=400"); /* what stays keeps its sum */
    IS("meters_over", 0);
    IS("meter_share_max", 0.5);
    world_profile(w, "a", 4, "segment", "smb");
    world_restart(w);
    IS("meter_share_max", 0.5);
    world_profile(w, "a", 5, "entitlements", "files=400,a=b=4"); /* what comes again begins anew */
    IS("meters_over", 0);
    world_to(w, 26, 0, 59);
    IS("meter_share_max", 0.5); /* the day of −3 is the 30th */
    world_to(w, 27, 0, 59);
    IS("meter_share_max", 0.25125);
    event(w, 29, UPT_KIND_USAGE, "files", NULL, 40);
    world_to(w, 31, 0, 59);
    IS("meter_share_max", 0.1);
    event(w, 70, UPT_KIND_USAGE, "files", NULL, 4); /* in the place of a day of long ago */
    IS("meter_share_max", 0.01);
    world_profile(w, "a", 70, "entitlements", "files=2e12");
    for (int i = 0; i < 1001; i++) {
        event(w, 70, UPT_KIND_USAGE, "files", NULL, 1e9);
    }
    IS("meter_share_max", 0.5);
    world_profile(w, "a", 70, "entitlements", "files");
    ABSENT("meters_over");
    ABSENT("meter_share_max");
    assert_int_equal(world_ext(w, "a")->signals.relation->meters_n, 0);
    world_free(w);
}

/* Eight, of those that are meters; forgotten with the account. */
static void
meters_kept(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "entitlements", "f0,f1=0,f2=10,f3=10,f4=10,f5=10,f6=10,f7=10,f8=10,f9=10,f10=10");
    event(w, 0, UPT_KIND_USAGE, "f10", NULL, 100);
    IS("meter_share_max", 0);
    event(w, 0, UPT_KIND_USAGE, "f9", NULL, 100);
    IS("meter_share_max", 10);
    size_t with = upt_state_bytes(w->st);
    world_profile(w, "a", 0, "entitlements", "");
    assert_true(upt_state_bytes(w->st) <= with - UPT_METERS_MAX * sizeof(struct upt_meter));
    world_profile(w, "a", 0, "entitlements", "f9=10");
    event(w, 0, UPT_KIND_USAGE, "f9", NULL, 100);
    upt_state_forget(w->st, UPT_STR("a"));
    world_profile(w, "a", 0, "entitlements", "f9=10");
    IS("meter_share_max", 0);
    world_free(w);
}

/* Tried once is tried, also when that is longer ago than the days that are kept of a feature. */
static void
releases(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    event(w, 0, UPT_KIND_USAGE, "boards", "ann", 1);
    event(w, 1, UPT_KIND_RELEASE, "boards", NULL, 1);
    world_to(w, 11, 0, 59);
    IS("release_waiting", 10);
    ABSENT("release_uptake_lag");
    event(w, 11, UPT_KIND_USAGE, "boards", "ann", 1);
    event(w, 12, UPT_KIND_USAGE, "boards", "ann", 1);
    ABSENT("release_waiting");
    IS("release_uptake_lag", 10);
    event(w, 20, UPT_KIND_RELEASE, "maps", NULL, 1);
    event(w, 24, UPT_KIND_USAGE, "maps", "ann", 1);
    for (int day = 25; day <= 70; day++) {
        event(w, day, UPT_KIND_USAGE, "f", "ann", 1);
        world_to(w, day, 0, 59);
    }
    world_restart(w);
    ABSENT("release_waiting");
    IS("release_uptake_lag", 7);
    event(w, 70, UPT_KIND_RELEASE, "boards", NULL, 1);
    IS("release_waiting", 0);
    IS("release_uptake_lag", 4);
    world_free(w);
}

/* Half of the week before, week by week: −50% a week; and steady use, whatever its weekdays, is 0. */
static void
trend(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int n[] = {7999, 3999, 1999, 999}; /* so that log(1 + n) falls by log 2 */
    for (int week = 0; week < 4; week++) {
        world_use(w, "a", 7 * week, "f", n[week]);
    }
    world_to(w, 28, 0, 59);
    IS("usage_trend", -0.5);
    world_free(w);
    w = world_new(NULL);
    for (int d = 0; d < 35; d++) {
        if (d % 7 < 5) {
            world_use(w, "a", d, "f", 10);
        }
    }
    for (int d = 35; d < 40; d++) {
        world_to(w, d, 0, 59);
        if (d == 35) {
            IS("usage_trend", 0);
        }
    }
    world_free(w);
}

/* ---- what the row shows ---- */

static struct upt_row
row_now(struct world *w, struct upt_signal_values *ret)
{
    struct upt_row row;
    upt_state_row(w->st, world_account(w, "a"), &row);
    assert_true(upt_signal_unpack(row.signals, ret));
    return row;
}

#define SHOWS(values, signal, v)                     \
    assert_true(upt_signal_known(values, (signal))); \
    assert_true((values)->micro[signal] == (upt_i128)(v))

/* Groups that changed since this was asked last. */
static unsigned
changed_now(struct world *w)
{
    struct upt_account *acct = world_account(w, "a");
    struct upt_feature_days days[8];
    struct upt_row row;
    upt_state_row(w->st, acct, &row);
    return upt_state_row_changed(acct, &row, upt_state_row_features(w->st, acct, days, 8));
}

/* Taken at the daily minute, also on days without a health record; not moved by events between two of them. */
static void
shown_daily(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_signal_values now;
    event(w, 0, UPT_KIND_CONTACT, NULL, NULL, 1);
    assert_null(row_now(w, &now).signals.p);
    assert_int_equal(now.known, 0);
    world_to(w, 1, 0, 59);
    (void)row_now(w, &now);
    SHOWS(&now, UPT_SIGNAL_DAYS_SINCE_CONTACT, 1000000);
    SHOWS(&now, UPT_SIGNAL_CONTACTS, 1000000);
    assert_false(upt_signal_known(&now, UPT_SIGNAL_FIRST_KEY_ACTION)); /* not known is not 0 */
    assert_false(upt_signal_known(&now, UPT_SIGNAL_TICKETS));
    assert_true((changed_now(w) & UPT_ROW_SIGNALS) != 0);
    event(w, 1, UPT_KIND_USAGE, "f", "ann", 1);
    event(w, 1, UPT_KIND_CONTACT, NULL, NULL, 1);
    (void)row_now(w, &now);
    SHOWS(&now, UPT_SIGNAL_CONTACTS, 1000000);
    assert_int_equal(changed_now(w) & UPT_ROW_SIGNALS, 0);
    int sent = w->health_n;
    for (int day = 2; day < 40; day++) {
        world_to(w, day, 0, 59);
        (void)row_now(w, &now);
        SHOWS(&now, UPT_SIGNAL_DAYS_SINCE_CONTACT, (day - 1) * 1000000);
        assert_true((changed_now(w) & UPT_ROW_SIGNALS) != 0);
    }
    assert_true(w->health_n - sent < 38); /* or this says nothing of days without a record */
    SHOWS(&now, UPT_SIGNAL_FIRST_KEY_ACTION, 1000000);
    SHOWS(&now, UPT_SIGNAL_CONTACTS, 2000000);
    world_free(w);
}

/* What was known and is not any more goes; a row restored is the row that was; an account that begins anew has none. */
static void
shown_and_gone(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    struct upt_signal_values now;
    struct upt_signal_values then;
    event(w, 0, UPT_KIND_USAGE, "f", "ann", 30);
    world_profile(w, "a", 0, "renewal_date", "2025-03-12"); /* day 70 */
    world_profile(w, "a", 0, "entitlement", "90");
    world_to(w, 1, 0, 59);
    (void)row_now(w, &now);
    SHOWS(&now, UPT_SIGNAL_DAYS_TO_RENEWAL, 69000000);
    SHOWS(&now, UPT_SIGNAL_CONSUMPTION_SHARE, 333333);
    world_restart(w);
    (void)row_now(w, &then);
    assert_true(then.known == now.known);
    for (unsigned i = 0; i < UPT_SIGNALS; i++) {
        assert_true(!upt_signal_known(&now, i) || now.micro[i] == then.micro[i]);
    }
    world_profile(w, "a", 1, "renewal_date", "soon");
    (void)row_now(w, &now);
    assert_true(upt_signal_known(&now, UPT_SIGNAL_DAYS_TO_RENEWAL));
    world_to(w, 2, 0, 59);
    (void)row_now(w, &now);
    assert_false(upt_signal_known(&now, UPT_SIGNAL_DAYS_TO_RENEWAL));
    SHOWS(&now, UPT_SIGNAL_CONSUMPTION_SHARE, 333333);
    upt_state_begin(w->st, w->offset++, upt_state_clock(w->st));
    upt_state_forget(w->st, UPT_STR("a"));
    event(w, 2, UPT_KIND_USAGE, "f", "ann", 30);
    assert_null(row_now(w, &now).signals.p);
    world_free(w);
}

/* The same numbers as in a health record of that evaluation. */
static void
shown_as_published(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    world_profile(w, "a", 0, "seats", "7");
    for (int d = 0; d < 60; d++) {
        event(w, d, d % 9 == 4 ? UPT_KIND_VALUE : UPT_KIND_USAGE, d % 3 == 0 ? "f" : "g", d % 2 == 0 ? "ann" : "bob",
              1);
        event(w, d, UPT_KIND_SURVEY, d % 2 == 0 ? "nps" : "csat", NULL, d % 11);
        int before = w->health_n;
        world_to(w, d + 1, 0, 59);
        struct upt_signal_values now;
        (void)row_now(w, &now);
        int n = 0;
        for (unsigned i = 0; i < UPT_SIGNALS; i++) {
            n += upt_signal_known(&now, i) ? 1 : 0;
        }
        if (w->health_n == before) {
            continue;
        }
        assert_int_equal(n, w->health.components_n - UPT_PARTS);
        for (unsigned i = 0, at = UPT_PARTS; i < UPT_SIGNALS; i++) {
            if (upt_signal_known(&now, i)) {
                double published = w->health.components[at++].value;
                assert_true(now.micro[i] == (upt_i128)llrint(published * 1e6));
            }
        }
    }
    assert_true(w->health_n > 10);
    world_free(w);
}

/* What is said of the adoption percentile, as if it were 0. */
static void
say_adoption(struct world *w, char text[120])
{
    struct upt_health health;
    upt_score_explain(w->score, w->st, world_account(w, "a"), &health);
    for (int i = UPT_PARTS; i < health.components_n; i++) {
        if (upt_str_eq(health.components[i].name, UPT_STR("adoption_percentile"))) {
            assert_true(upt_signal_say("adoption_percentile", health.components[i].unit, 0, text, 120));
        }
    }
}

/* Compared with those that renewed, at the same distance, where the model has them; else with those that stayed. */
static void
renewed(void **state)
{
    (void)state;
    struct world *w = world_only("RENEWAL_GAP", NULL);
    char among[120];
    w->model->renewed[0] =
        (struct upt_renewed){.rows_n = 2, .has_breadth = true, .share_of = {0, 1}, .quantile = {{0, 0}, {50, 4}}};
    w->model->renewed[1] = (struct upt_renewed){.rows_n = 2, .share_of = {0, 1}, .quantile = {{28}, {68}}};
    w->model->has_renewed = true;
    world_profile(w, "a", 0, "renewal_date", "2025-07-20"); /* day 200 */
    static const int left[] = {61, 60, 31, 30, 0, -30, -31};
    static const char *const told[] = {"stayed",
                                       "renewed, 31 to 60 days before",
                                       "renewed, 31 to 60 days before",
                                       "renewed, 0 to 30 days before",
                                       "renewed, 0 to 30 days before",
                                       "renewed, 0 to 30 days before",
                                       "stayed"};
    for (int d = 0, i = 0; i < 7; d++) {
        world_use(w, "a", d, "f", 1);
        if (200 - d == left[i]) {
            char text[120];
            struct upt_eval eval = world_eval(w, "a");
            double f = eval.value[UPT_C_FREQUENCY_21D];
            double b = eval.value[UPT_C_BREADTH];
            double stayed =
                (upt_percentile(w->model, UPT_C_FREQUENCY_21D, f) + upt_percentile(w->model, UPT_C_BREADTH, b)) / 2;
            double wanted = i == 0 || i == 6 ? stayed : i < 3 ? (f - 28) / 40 : (f / 50 + b / 4) / 2;
            IS("adoption_percentile", wanted);
            say_adoption(w, among);
            (void)snprintf(text, sizeof(text), "Of the accounts that %s, those that use it less: 0%%", told[i]);
            assert_string_equal(among, text);
            i++;
        }
    }
    world_profile(w, "a", 231, "renewal_date", "");
    say_adoption(w, among);
    assert_string_equal(among, "Of the accounts that stayed, those that use it less: 0%");
    const struct kept_alert *gap = world_alert(w, "a", "RENEWAL_GAP", 0); /* those that stayed used it less */
    assert_int_equal(world_day(gap->a.changed_at), 141);                  /* the second evaluation */
    assert_string_equal(gap->counterfactual, "59 days to renewal; adoption above that of 35% of accounts that renewed, "
                                             "31 to 60 days before, closes it.");
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beginnings),  cmocka_unit_test(steps),          cmocka_unit_test(people),
        cmocka_unit_test(care),        cmocka_unit_test(habits),         cmocka_unit_test(late_answers),
        cmocka_unit_test(contract),    cmocka_unit_test(goals),          cmocka_unit_test(proficient),
        cmocka_unit_test(inherited),   cmocka_unit_test(stakeholders),   cmocka_unit_test(releases),
        cmocka_unit_test(meters),      cmocka_unit_test(meters_kept),    cmocka_unit_test(trend),
        cmocka_unit_test(shown_daily), cmocka_unit_test(shown_and_gone), cmocka_unit_test(shown_as_published),
        cmocka_unit_test(renewed),
    };
    return cmocka_run_group_tests_name("score_signals", tests, NULL, NULL);
}
