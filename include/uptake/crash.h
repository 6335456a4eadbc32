/* Crash points: places before and after every external effect, where tests kill or stop the process.
 *
 * Compiled in only with UPTAKE_CRASH_POINTS (a build for tests). The environment says where:
 *   UPTAKE_CRASH="publisher.commit.before:3"   SIGKILL to itself at the third passing of that point
 *   UPTAKE_CRASH="restore.read:1:stop"         SIGSTOP instead
 * In every other build a crash point is nothing. */
#ifndef UPT_CRASH_H
#define UPT_CRASH_H

#ifdef UPT_CRASH_POINTS
void upt_crash_point_hit(const char *name);
#define upt_crash_point(name) upt_crash_point_hit(name)
#else
#define upt_crash_point(name) ((void)0)
#endif

#endif
