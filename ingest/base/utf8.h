/* Escaping for logs and JSON; shared by the rooms' own files only. */
#ifndef UPT_BASE_UTF8_H
#define UPT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#define UPT_ESCAPE_MAX 6 /* most output bytes for one input byte */

/* Length of the valid UTF-8 sequence at p, 0 if there is none. left > 0. */
size_t upt_utf8_sequence(const unsigned char *p, size_t left);

/* Writes p escaped to out, which has room for UPT_ESCAPE_MAX × len. json: as inside a JSON string; otherwise for a
 * terminal (control characters as \n, \x1b, …). Bytes that are not UTF-8 become U+FFFD. Returns the length. */
size_t upt_utf8_escape(const char *p, size_t len, bool json, char *out);

#endif
