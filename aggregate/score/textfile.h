/* What reading the model file and the rules file have in common. Private to the room. */
#ifndef UPT_SCORE_TEXTFILE_H
#define UPT_SCORE_TEXTFILE_H

#include "uptake/status.h"
#include "uptake/str.h"

#define UPT_TEXT_MAX (1024 * 1024)

/* Reads a whole file of at most UPT_TEXT_MAX bytes into out. */
UPT_NODISCARD upt_status upt_text_read(const char *path, struct upt_buf *out, struct upt_error *reterr);
/* UPT_EINVAL with "path:line: …". */
upt_status upt_text_fail(struct upt_error *err, const char *path, int line, const char *fmt, ...) UPT_PRINTF(4, 5);

#endif
