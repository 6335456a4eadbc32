/* uptake forget: writes the null record of an account, on which uptake forgets it.
 *
 * The record must be in the account's partition: in another one only its health record ends. Redis says which that is,
 * if it has a row; producers may use any partitioner, and only where there is no row is it computed as Java clients do.
 * Where Redis does not answer nothing is written, unless the partition is given. It goes through the log and not around
 * it, so that every replay forgets at the same place. One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>

#include "aggregate/view/view.h"
#include "ingest/command.h"
#include "ingest/kafka/client.h"
#include "ingest/topic_read.h"
#include "uptake/event.h"
#include "uptake/terminal.h"

#define QUERY_MS 15000

/* The partition in the account's row; −1: there is no row. UPT_EUNAVAIL: Redis does not say. */
static upt_status
row_partition(const struct upt_config *config, struct upt_str account, int32_t *ret, struct upt_error *reterr)
{
    struct upt_buf key = {0};
    redisContext *redis = NULL;
    upt_status status = upt_read_redis(config, &redis, reterr);
    if (status != UPT_OK) {
        return status;
    }
    upt_view_key(&key, config->redis_prefix, "account:", account, "");
    const char *argv[] = {"HGET", key.p, "partition"};
    const size_t lens[] = {4, key.len, 9};
    redisReply *reply = redisCommandArgv(redis, 3, argv, lens);
    if (reply != NULL && reply->type == REDIS_REPLY_STRING) {
        *ret = (int32_t)strtol(reply->str, NULL, 10);
    } else if (reply != NULL && reply->type == REDIS_REPLY_NIL) {
        *ret = -1;
    } else {
        status = upt_fail(reterr, UPT_EUNAVAIL, "Redis: %s", reply != NULL ? reply->str : redis->errstr);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    upt_buf_fini(&key);
    redisFree(redis);
    return status;
}

/* partition −1: computed. given: by who asks for it, so it must be there. */
static upt_status
forget(const struct upt_config *config, struct upt_str account, int32_t partition, bool given, struct upt_error *reterr)
{
    struct upt_topic_writer *writer = NULL;
    int32_t partitions = 0;
    uint64_t delivered = 0;
    upt_status status = upt_topic_writer_create(config, &writer, reterr);
    if (status == UPT_OK) {
        status =
            upt_client_partitions(upt_topic_writer_client(writer), config->input_topic, QUERY_MS, &partitions, reterr);
    }
    if (status == UPT_OK && given && partition >= partitions) {
        status = upt_fail(reterr, UPT_EDATA, "%s has no partition %d, but %d in all", config->input_topic,
                          (int)partition, (int)partitions);
    }
    if (status == UPT_OK) {
        const struct upt_topic_record record = {.topic = config->input_topic,
                                                .partition = partition < partitions ? partition : -1,
                                                .key = account,
                                                .value = UPT_STR_NULL};
        status = upt_topic_writer_put(writer, &record, reterr);
    }
    if (status == UPT_OK) {
        status = upt_topic_writer_finish(writer, &delivered, reterr);
    }
    upt_topic_writer_destroy(&writer);
    return status;
}

/* The partition of the account's row, or −1, which is said. */
static upt_status
find_partition(const struct upt_config *config, struct upt_str account, int32_t *ret, struct upt_error *reterr)
{
    upt_status status = row_partition(config, account, ret, reterr);
    if (status != UPT_OK) {
        return upt_fail(reterr, status, "%s; only the account's row says its partition, unless --partition does",
                        reterr->msg);
    }
    if (*ret < 0) {
        fprintf(stderr,
                "uptake forget: Redis has no row of it: the partition is computed as Java clients do (murmur2); "
                "with another partitioner give --partition\n");
    }
    return UPT_OK;
}

static int
run(int argc, char **argv)
{
    struct upt_option options[] = {{.name = "c", .takes_value = true}, {.name = "partition", .takes_value = true}};
    const size_t n = sizeof(options) / sizeof(options[0]);
    const char *text = NULL;
    size_t args = 0;
    struct upt_config *config = NULL;
    struct upt_error err;
    long long given = -1;
    int rc = upt_options_parse(&upt_cmd_forget, argc, argv, options, n, &text, 1, &args);
    if (rc != 0) {
        return rc < 0 ? EX_OK : rc;
    }
    size_t len = args == 1 ? strlen(text) : 0;
    if (len < 1 || len > UPT_KEY_MAX || !upt_utf8_valid(text, len)) {
        fprintf(stderr, "uptake forget: an account is wanted, 1 to %d bytes of UTF-8\n", UPT_KEY_MAX);
        return EX_USAGE;
    }
    if (!upt_option_number(&upt_cmd_forget, options, n, "partition", 0, INT32_MAX, &given)) {
        return EX_USAGE;
    }
    rc = upt_command_config(options, n, true, &config);
    if (rc != 0) {
        return rc;
    }
    const struct upt_str account = {.p = text, .len = (uint32_t)len};
    int32_t partition = (int32_t)given;
    upt_status status = given < 0 ? find_partition(config, account, &partition, &err) : UPT_OK;
    if (status == UPT_OK) {
        status = forget(config, account, partition, given >= 0, &err);
    }
    if (status != UPT_OK) {
        rc = upt_command_fail(&upt_cmd_forget, &err);
    } else {
        printf("the null record of ");
        upt_print_text(stdout, account.p, account.len);
        printf(" is in %s\n", config->input_topic);
        rc = EX_OK;
    }
    upt_config_destroy(&config);
    return rc;
}

const struct upt_command upt_cmd_forget = {
    .name = "forget",
    .usage = "ACCOUNT -c FILE [--partition N]",
    .summary = "Writes the null record of an account: its state, alerts and keys are deleted.",
    .help =
        "  -c FILE         configuration\n"
        "  --partition N   the account's partition; else Redis must answer, and where it has no row the partition is\n"
        "                  computed as Java clients do: in another one only its health record ends\n"
        "\n"
        "Exits 0 once the broker has the record. A running `uptake run` then ends its alerts with EXPIRE and\n"
        "deletes its state and keys; the account begins anew with its next record.\n",
    .run = run,
};
