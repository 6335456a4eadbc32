/* The factors of an alert: the five largest and what is left. Pure. */
#include <math.h>
#include <stdio.h>

#include "decide.h"
#include "hazard.h"

#define SHOWN 5

int
upt_fitting(struct upt_str text, uint32_t most)
{
    uint32_t len = text.p == NULL ? 0 : text.len < most ? text.len : most;
    while (len > 0 && len < text.len && ((unsigned char)text.p[len] & 0xC0) == 0x80) {
        len--;
    }
    return (int)len;
}

int
upt_factors(const struct upt_model *model, const struct upt_eval *eval, struct upt_factor *ret, char text[][200])
{
    if (!eval->has_key) {
        return 0;
    }
    bool taken[UPT_R_COUNT] = {false};
    double other = 0;
    int n = 0;
    for (; n < SHOWN; n++) {
        int best = -1;
        for (int i = 0; i < UPT_R_COUNT; i++) {
            if (!taken[i] && (best < 0 || fabs(eval->factor[0][i]) > fabs(eval->factor[0][best]))) {
                best = i;
            }
        }
        taken[best] = true;
        upt_hazard_say(model, eval, best, text[n], 200);
        ret[n] = (struct upt_factor){
            .name = upt_str_of(upt_risk_names[best]),
            .text = upt_str_of(text[n]),
            .log_odds = eval->factor[0][best],
            .value = eval->risk_value[best],
            .baseline = model->risk[best].mean,
        };
    }
    for (int i = 0; i < UPT_R_COUNT; i++) {
        other += taken[i] ? 0 : eval->factor[0][i];
    }
    (void)snprintf(text[n], 200, "All other factors together.");
    ret[n] = (struct upt_factor){.name = UPT_STR("other"),
                                 .text = upt_str_of(text[n]),
                                 .log_odds = other,
                                 .value = other,
                                 .baseline = (double)NAN};
    return n + 1;
}
