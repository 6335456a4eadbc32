/* The functions that the linker redirects to the simulation (--wrap): of the C library, and few of uptake's own. */
#ifndef UPT_SIM_PROTOCOL_OS_H
#define UPT_SIM_PROTOCOL_OS_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uptake/output.h"
#include "uptake/ring.h"
#include "uptake/str.h"

struct upt_publisher;
struct upt_state;
struct upt_state_config;
struct upt_view;

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *p, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
void __real_free(void *p);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __real_write(int fd, const void *buf, size_t len);
int __real_close(int fd);
upt_status __real_upt_ring_create(size_t capacity, struct upt_ring **ret, struct upt_error *reterr);
void __real_upt_ring_commit(struct upt_ring *ring, size_t len);
const void *__real_upt_ring_peek(struct upt_ring *ring, size_t *ret_len);
bool __real_upt_publisher_has_room(struct upt_publisher *pub, size_t len);
bool __real_upt_view_has_room(const struct upt_view *view);
upt_status __real_upt_state_create(const struct upt_state_config *config, struct upt_state **ret,
                                   struct upt_error *reterr);
size_t __real_upt_state_pack(struct upt_state *st, size_t n);
void __real_upt_encode_alert(struct upt_buf *out, int32_t schema_id, const struct upt_alert *alert,
                             int64_t detected_at);

void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *p, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
ssize_t __wrap_read(int fd, void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __wrap_close(int fd);
int64_t __wrap_upt_mono_ms(void);
int64_t __wrap_upt_mono_us(void);
int64_t __wrap_upt_wall_ms(void);
void __wrap_upt_sleep_ms(int64_t ms);
upt_status __wrap_upt_ring_create(size_t capacity, struct upt_ring **ret, struct upt_error *reterr);
void __wrap_upt_ring_commit(struct upt_ring *ring, size_t len);
const void *__wrap_upt_ring_peek(struct upt_ring *ring, size_t *ret_len);
bool __wrap_upt_publisher_has_room(struct upt_publisher *pub, size_t len);
bool __wrap_upt_view_has_room(const struct upt_view *view);
upt_status __wrap_upt_state_create(const struct upt_state_config *config, struct upt_state **ret,
                                   struct upt_error *reterr);
size_t __wrap_upt_state_pack(struct upt_state *st, size_t n);
void __wrap_upt_encode_alert(struct upt_buf *out, int32_t schema_id, const struct upt_alert *alert,
                             int64_t detected_at);

#endif
