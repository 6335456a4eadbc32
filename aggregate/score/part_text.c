/* Parts of the health score in plain words, numbers as a person would count them, in the account's own periods where
 * the part counts those. What of a part is published is in parts.c; the sentences are for `show` and the live page.
 * Pure. */
#include <math.h>
#include <stdio.h>

#include "decide.h"

const char *
upt_part_short(int part)
{
    static const char *const names[UPT_PARTS] = {
        "recent active days", "active days", "uses",       "breadth", "features ever used",
        "chance of return",   "people",      "onboarding", "tickets", "answers to surveys",
        "training",           "goals"};
    return names[part];
}

void
upt_part_say(const struct upt_model *model, const struct upt_eval *eval, int part, char *buf, size_t cap)
{
    static const char *const words[UPT_PARTS] = {
        [UPT_C_FREQUENCY_10D] = "Active %s of late, the newest counting most%s: %.1f",
        [UPT_C_FREQUENCY_21D] = "Active %s over a longer time, the newest counting most%s: %.1f",
        [UPT_C_VOLUME_21D] = "Uses of the last weeks, the newest counting most: %.0f",
        [UPT_C_BREADTH] = "Breadth: features by how often they are used: %.1f",
        [UPT_C_FEATURES_EVER] = "Features ever used: %.0f",
        [UPT_C_RETURN] = "Chance that it uses the product within %d days: %.0f%%",
        [UPT_PART_PEOPLE] = "Seats in use, active and adopted users, taken together: %.0f%%",
        [UPT_PART_ONBOARDING] = "Steps of onboarding done: %.0f%%",
        [UPT_PART_SUPPORT] = "Tickets opened in the last four to five weeks: %.0f",
        [UPT_PART_SENTIMENT] = "Answers to surveys: %.0f%% of the scale",
        [UPT_PART_EDUCATION] = "Users that were trained: %.0f%%",
        [UPT_PART_OUTCOMES] = "Goals reached: %.0f%%",
    };
    static const char *const periods[UPT_CADENCES] = {"days", "weeks", "periods of four weeks"};
    const struct upt_activity *act = &eval->act;
    double value = eval->value[part];
    bool percent = part == UPT_C_RETURN || (part >= UPT_PART_PEOPLE && part != UPT_PART_SUPPORT);
    double shown = part == UPT_C_VOLUME_21D ? expm1(value) : percent ? 100 * value : value;
    if (part == UPT_C_FREQUENCY_10D || part == UPT_C_FREQUENCY_21D) {
        /* The greater of active days and of own periods on the scale of days (read_frequency). */
        bool own = value > (part == UPT_C_FREQUENCY_10D ? act->decayed_10 : act->decayed_21);
        (void)snprintf(buf, cap, words[part], periods[own ? act->cadence : UPT_DAILY],
                       own ? ", on the scale of daily use" : "", shown);
    } else if (part == UPT_C_RETURN) {
        int days = upt_periods(act->cadence, (int)model->return_days) * upt_cadence_days[act->cadence];
        (void)snprintf(buf, cap, words[part], days, shown);
    } else {
        (void)snprintf(buf, cap, words[part], shown);
    }
}
