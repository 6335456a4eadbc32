/* See fixture.h. */
#include "fixture.h"

#include <signal.h>

struct redis_server server;
struct rig_view rig;

int
start_server(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return redis_server_start(&server) ? 0 : -1;
}

int
end_server(void **state)
{
    (void)state;
    redis_server_end(&server);
    return 0;
}

int
setup(void **state)
{
    (void)state;
    redis_server_ask(&server, "FLUSHALL");
    rig_open(&rig, &server, "unit-1");
    return 0;
}

int
teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}
