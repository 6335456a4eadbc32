/* The admin port: HTTP for people (the live page), for Prometheus and for orchestrators.
 *
 *   /                    the live page; no data in it, so it is served without the token, for which it asks
 *   /status.json         all that the page shows; at most one read of Redis a second, however many look
 *   /account.json?id=ID  an account's row and features, from Redis
 *   /metrics             Prometheus text 0.0.4
 *   /healthz, /livez     200 while every lane's heart beats; never waits for Redis or Kafka
 *   /readyz              200 once every lane is ready, or 503 with the reason
 *
 * GET and HEAD only, no bodies. Two threads: one of libmicrohttpd for sockets, one that reads Redis and builds JSON. */
#ifndef UPT_ADMIN_H
#define UPT_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "aggregate/view/view.h"
#include "uptake/board.h"
#include "uptake/status.h"

struct upt_admin;

struct upt_admin_config {
    const char *listen;      /* "127.0.0.1:8088", "[::1]:8088", ":8088" (any address); port 0: any; "off": none */
    bool exact_port;         /* fails if the port is in use; else the first free of the next 15 is taken */
    const char *token;       /* bearer token; NULL or "": none asked */
    struct upt_board *board; /* borrowed, outlives the port */
    const struct upt_view_config *redis; /* url, user, password, prefix and time-out are read; NULL: no Redis */
    const char *version, *group, *instance;
    int64_t heartbeat_max_ms; /* /healthz: an older heart-beat of any lane is a 503; 0: 30 s */
};

/* Copies what it needs of the configuration. With listen "off", *ret is NULL and nothing runs. */
UPT_NODISCARD upt_status upt_admin_start(const struct upt_admin_config *config, struct upt_admin **ret,
                                         struct upt_error *reterr);
void upt_admin_stop(struct upt_admin **admin_p);

/* The port that is listened on; 0 for NULL. */
uint16_t upt_admin_port(const struct upt_admin *admin);

#endif
