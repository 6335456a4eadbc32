/* Assertions that stay on in release: programmer errors only, never bad input. */
#ifndef UPT_ASSERT_H
#define UPT_ASSERT_H

_Noreturn void upt_panic(const char *file, int line, const char *what);

#define upt_assert(cond) ((cond) ? (void)0 : upt_panic(__FILE__, __LINE__, #cond))

#endif
