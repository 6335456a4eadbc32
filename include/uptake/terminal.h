/* Text from outside on a terminal. */
#ifndef UPT_TERMINAL_H
#define UPT_TERMINAL_H

#include <stddef.h>
#include <stdio.h>

/* Control characters, which a terminal would obey, and bytes that are no UTF-8 as '?'. Returns the columns taken: two
 * by wide characters, none by marks on the one before. */
int upt_print_text(FILE *to, const char *p, size_t len);
/* The same of as many whole characters as fit into the columns. */
int upt_print_cut(FILE *to, const char *p, size_t len, int columns);

#endif
