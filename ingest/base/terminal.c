/* Text from outside on a terminal. Widths are those of Unicode, in short: the locale may be "C", and wcwidth then knows
 * nothing. */
#include "uptake/terminal.h"

#include <limits.h>
#include <stdint.h>

#include "uptake/str.h"

static const struct {
    uint32_t first, last;
    int columns;
} widths[] = {
    {0x0300, 0x036F, 0},   {0x0483, 0x0489, 0},   {0x0591, 0x05BD, 0},   {0x0610, 0x061A, 0},   {0x064B, 0x065F, 0},
    {0x0670, 0x0670, 0},   {0x06D6, 0x06DC, 0},   {0x06DF, 0x06E4, 0},   {0x0900, 0x0902, 0},   {0x093C, 0x093C, 0},
    {0x0941, 0x0948, 0},   {0x094D, 0x094D, 0},   {0x0E31, 0x0E31, 0},   {0x0E34, 0x0E3A, 0},   {0x0E47, 0x0E4E, 0},
    {0x1100, 0x115F, 2},   {0x1AB0, 0x1AFF, 0},   {0x1DC0, 0x1DFF, 0},   {0x200B, 0x200F, 0},   {0x202A, 0x202E, 0},
    {0x2060, 0x2064, 0},   {0x20D0, 0x20FF, 0},   {0x231A, 0x231B, 2},   {0x23E9, 0x23EC, 2},   {0x2614, 0x2615, 2},
    {0x2705, 0x2705, 2},   {0x274C, 0x274C, 2},   {0x2B50, 0x2B50, 2},   {0x2E80, 0x303E, 2},   {0x3041, 0xA4CF, 2},
    {0xA960, 0xA97F, 2},   {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},   {0xFE00, 0xFE0F, 0},   {0xFE20, 0xFE2F, 0},
    {0xFE30, 0xFE6F, 2},   {0xFEFF, 0xFEFF, 0},   {0xFF00, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2},   {0x1F300, 0x1F64F, 2},
    {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2}, {0xE0100, 0xE01EF, 0},
};

static int
columns_of(uint32_t c)
{
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]) && widths[i].first <= c; i++) {
        if (c <= widths[i].last) {
            return widths[i].columns;
        }
    }
    return 1;
}

/* The bytes of the character at p, and what it is; 0: none that is shown. */
static size_t
character(const char *p, size_t len, uint32_t *ret)
{
    unsigned char c = (unsigned char)p[0];
    size_t n = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    *ret = 0;
    if (n > len || !upt_utf8_valid(p, n)) {
        return 1;
    }
    uint32_t got = n == 1 ? c : c & (0x7FU >> n);
    for (size_t i = 1; i < n; i++) {
        got = got << 6 | ((unsigned char)p[i] & 0x3FU);
    }
    *ret = got < 0x20 || (got >= 0x7F && got < 0xA0) ? 0 : got;
    return n;
}

int
upt_print_cut(FILE *to, const char *p, size_t len, int columns)
{
    int used = 0;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c;
        n = character(p + i, len - i, &c);
        int more = c == 0 ? 1 : columns_of(c);
        if (more > columns - used) {
            break;
        }
        used += more;
        if (c == 0) {
            fputc('?', to);
        } else {
            fwrite(p + i, 1, n, to);
        }
    }
    return used;
}

int
upt_print_text(FILE *to, const char *p, size_t len)
{
    return upt_print_cut(to, p, len, INT_MAX);
}
