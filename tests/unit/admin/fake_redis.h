/* A Redis of a few lines in a thread: canned answers, and moods that a real one would have to be talked into. */
#ifndef UPT_TEST_FAKE_REDIS_H
#define UPT_TEST_FAKE_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_FEATURES 1400
#define FAKE_TOP 800

typedef enum fake_mood {
    FAKE_ANSWERS,
    FAKE_LOADING, /* an error to everything */
    FAKE_WORDY,   /* one that is longer than what is kept of it, in letters of two bytes */
    FAKE_HOLDS,   /* no answer until the mood changes */
    FAKE_MANY,    /* FAKE_FEATURES features, of which FAKE_TOP has by far the most events; nothing else */
} fake_mood;

struct fake_redis;

struct fake_redis *fake_redis_start(void);
void fake_redis_stop(struct fake_redis **fake_p);
uint16_t fake_redis_port(const struct fake_redis *fake);
void fake_redis_set(struct fake_redis *fake, fake_mood mood);
/* How often the command was received. */
int fake_redis_count(struct fake_redis *fake, const char *command);
/* Blocks until a command was received since the mood was set. */
void fake_redis_wait(struct fake_redis *fake);

#endif
