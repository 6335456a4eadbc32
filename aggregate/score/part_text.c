/* Parts of the health score in plain words, numbers as a person would count them. What of a part is published is in
 * parts.c; the sentences are for `show` and the live page. Pure. */
#include <math.h>
#include <stdio.h>

#include "decide.h"

void
upt_part_say(int part, double value, char *buf, size_t cap)
{
    static const char *const words[UPT_PARTS] = {
        [UPT_C_FREQUENCY_10D] = "Active days of late, the newest counting most: %.1f",
        [UPT_C_FREQUENCY_21D] = "Active days of the last weeks, the newest counting most: %.1f",
        [UPT_C_VOLUME_21D] = "Uses of the last weeks, the newest counting most: %.0f",
        [UPT_C_BREADTH] = "Breadth: features by how often they are used: %.1f",
        [UPT_C_FEATURES_EVER] = "Features ever used: %.0f",
        [UPT_C_RETURN] = "Chance that it uses the product within 10 days: %.0f%%",
        [UPT_PART_PEOPLE] = "Seats in use, active and adopted users, taken together: %.0f%%",
        [UPT_PART_ONBOARDING] = "Steps of onboarding done: %.0f%%",
        [UPT_PART_SUPPORT] = "Tickets opened in the last four to five weeks: %.0f",
        [UPT_PART_SENTIMENT] = "Answers to surveys: %.0f%% of the scale",
        [UPT_PART_EDUCATION] = "Users that were trained: %.0f%%",
        [UPT_PART_OUTCOMES] = "Goals reached: %.0f%%",
    };
    bool percent = part == UPT_C_RETURN || (part >= UPT_PART_PEOPLE && part != UPT_PART_SUPPORT);
    double shown = part == UPT_C_VOLUME_21D ? expm1(value) : percent ? 100 * value : value;
    (void)snprintf(buf, cap, words[part], shown);
}
