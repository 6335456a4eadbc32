/* A schema registry of canned answers, on a port of its own. */
#ifndef UPT_AVRO_REGISTRY_STUB_H
#define UPT_AVRO_REGISTRY_STUB_H

#include <stdint.h>

struct registry_stub;

/* At most 32 routes. */
struct registry_stub *registry_stub_start(void);
void registry_stub_stop(struct registry_stub **stub_p);
/* "http://127.0.0.1:PORT" */
const char *registry_stub_url(const struct registry_stub *stub);
/* What to answer to "GET /path" from now on; location may be NULL. Without a route: 404 "not found", no JSON. */
void registry_stub_set(struct registry_stub *stub, const char *request, unsigned status, const char *body,
                       const char *location);
/* How often it was asked, and with which Authorization and body the last time ("" for none). */
unsigned registry_stub_hits(struct registry_stub *stub, const char *request);
const char *registry_stub_authorization(struct registry_stub *stub, const char *request);
const char *registry_stub_body(struct registry_stub *stub, const char *request);
/* Requests without a route. */
unsigned registry_stub_misses(struct registry_stub *stub);

#endif
