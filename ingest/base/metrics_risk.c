/* AUC and calibration error of the 30-day risk from the counters of its outcomes. The AUC is that of the ten tenths of
 * the scale: within one, pairs count by half, so it is a little below that of the risks themselves. Any thread. */
#include <math.h>

#include "uptake/metrics.h"

void
upt_metrics_risk(struct upt_metrics *const *sets, size_t n, struct upt_buf *out)
{
    double stayed_below = 0;
    double pairs = 0;
    double error = 0;
    double left_all = 0;
    for (int k = 0; k < 10; k++) {
        double stayed = (double)upt_metrics_total(sets, n, (upt_metric)(UPT_M_RISK_STAYED_0 + k));
        double left = (double)upt_metrics_total(sets, n, (upt_metric)(UPT_M_RISK_LEFT_0 + k));
        double predicted = (double)upt_metrics_total(sets, n, (upt_metric)(UPT_M_RISK_SUM_0 + k)) / 1000;
        pairs += left * (stayed_below + stayed / 2);
        stayed_below += stayed;
        left_all += left;
        error += fabs(predicted - left);
    }
    if (left_all <= 0 || stayed_below <= 0) {
        return;
    }
    upt_buf_printf(out,
                   "# HELP uptake_risk_auc How well the 30-day risk has ranked who left, by outcomes since the start\n"
                   "# TYPE uptake_risk_auc gauge\nuptake_risk_auc %.4f\n"
                   "# HELP uptake_risk_calibration_error Mean difference of predicted and observed over tenths\n"
                   "# TYPE uptake_risk_calibration_error gauge\nuptake_risk_calibration_error %.4f\n",
                   pairs / (left_all * stayed_below), error / (left_all + stayed_below));
}
