/* What the tests of a program share: a server, started before the first and ended behind the last, and a view for each.
 * Not on the stack of a test: one that fails leaves it at once, and these have threads. */
#ifndef UPT_TEST_FIXTURE_H
#define UPT_TEST_FIXTURE_H

#include "rig.h"

extern struct redis_server server;
extern struct rig_view rig;

int start_server(void **state);
int end_server(void **state);
/* The server is empty, and the view open. */
int setup(void **state);
int teardown(void **state);

#endif
