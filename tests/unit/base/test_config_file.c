/* The configuration file: its syntax, its lines, ${…}. */
#include "testing.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "uptake/config.h"
#include "uptake/str.h"

static char dir[] = "/tmp/uptake-test-XXXXXX";
static char path[64];
static char secret_path[64];

#define BASE "kafka: {bootstrap.servers: 'b:1'}\nregistry.url: http://r\n"

static int
setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/u.yaml", dir);
    snprintf(secret_path, sizeof(secret_path), "%s/secret", dir);
    return setenv("UPT_TEST_NAME", "from-env", 1) | setenv("UPT_TEST_SECRET_FILE", secret_path, 1) |
           setenv("UPT_TEST_DOLLAR", "a${UPT_TEST_NAME}b", 1) | setenv("UPT_TEST_LATIN1", "\xe4", 1);
}

static int
teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(secret_path);
    return rmdir(dir);
}

static void
write_file(const char *where, const char *text, size_t len, mode_t mode)
{
    FILE *file = fopen(where, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(where, mode), 0);
}

static upt_status
load_bytes(const char *text, size_t len, struct upt_config **ret, struct upt_error *reterr)
{
    write_file(path, text, len, 0600);
    return upt_config_load(path, ret, reterr);
}

static struct upt_config *
load(const char *text)
{
    struct upt_config *config = NULL;
    struct upt_error err = {0};
    if (load_bytes(text, strlen(text), &config, &err) != UPT_OK) {
        fail_msg("%s\n%s", err.msg, text);
    }
    return config;
}

/* The text is refused with a message that begins "FILE:LINE: " (line 0: anything) and holds part. */
static void
refused(const char *text, size_t len, int line, const char *part)
{
    struct upt_config *config = NULL;
    struct upt_error err = {0};
    upt_status status = load_bytes(text, len, &config, &err);
    char begin[96] = "";
    if (line > 0) {
        snprintf(begin, sizeof(begin), "%s:%d: ", path, line);
    }
    if (status != UPT_EINVAL || strncmp(err.msg, begin, strlen(begin)) != 0 || strstr(err.msg, part) == NULL ||
        strchr(err.msg, '\n') != NULL) {
        fail_msg("status %d \"%s\", expected line %d \"%s\" for:\n%s", status, err.msg, line, part, text);
    }
    assert_null(config);
}

static void
least_file(void **state)
{
    (void)state;
    struct upt_config *config = load("kafka: {bootstrap.servers: \"127.0.0.1:9092\"}\n"
                                     "redis: {url: \"redis://127.0.0.1:6379\"}     # comment\n"
                                     "registry: {url: \"http://127.0.0.1:8081\"}\n");
    assert_int_equal(config->kafka_n, 1);
    assert_string_equal(config->kafka[0].name, "bootstrap.servers");
    assert_string_equal(config->kafka[0].value, "127.0.0.1:9092");
    assert_int_equal(config->kafka[0].line, 1);
    assert_string_equal(config->registry_url, "http://127.0.0.1:8081");
    assert_string_equal(config->path, path);
    assert_false(config->embedded_broker);
    upt_config_destroy(&config);
}

static void
nested_and_dotted_alike(void **state)
{
    (void)state;
    struct upt_config *config =
        load("%YAML 1.1\n---\n"
             "kafka.bootstrap.servers: a:1\n"
             "kafka:\n  security.protocol: sasl_ssl\n  sasl:\n    username: u\n    password: p\n"
             "registry.url: http://r\n"
             "registry: {timeout: 1s, negative_ttl: 2m}\n"
             "redis:\n"
             "input: {topic: in, framing: confluent}\n"
             "output.dead_topic: 'dead'\n"
             "threads: 3\nmemory_limit: 1GiB\ntrust_timestamps: true\n"
             "max_record_bytes: 2MiB\n...\n");
    assert_int_equal(config->kafka_n, 4);
    assert_string_equal(config->kafka[2].name, "sasl.username");
    assert_int_equal(config->kafka[3].line, 8);
    assert_string_equal(config->input_topic, "in");
    assert_string_equal(config->dead_topic, "dead");
    assert_int_equal(config->registry_timeout_ms, 1000);
    assert_int_equal(config->registry_negative_ttl_ms, 120000);
    assert_int_equal(config->threads, 3);
    assert_int_equal(config->memory_limit, 1073741824);
    assert_int_equal(config->max_record_bytes, 2097152);
    assert_true(config->trust_timestamps);
    upt_config_destroy(&config);
}

static void
faults_have_their_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *part;
    } cases[] = {
        {BASE "grup: x\n", 3, "grup: there is no such key; did you mean group?"},
        {BASE "redis:\n  url: redis://a\n  pasword: x\n", 5,
         "redis.pasword: there is no such key; did you mean redis.password?"},
        {BASE "zzz: {a: 1}\n", 3, "zzz: there is no such key"},
        {BASE "redis: {nope: {x: 1}}\n", 3, "redis.nope: there is no such key"},
        {BASE "flush_interval: 1\n", 3, "flush_interval: \"1\" is not a duration"},
        {BASE "group: a\ngroup: b\n", 4, "group: is given twice, first on line 3"},
        {BASE "redis: {url: 'redis://a'}\nredis.url: redis://b\n", 4, "redis.url: is given twice, first on line 3"},
        {BASE "redis: {url: 'redis://a'}\nredis: {prefix: b}\n", 4, "redis: is given twice, first on line 3"},
        {"kafka: {bootstrap.servers: a, bootstrap.servers: b}\n", 1, "kafka.bootstrap.servers: is given twice"},
        {BASE "group: &x a\n", 3, "group: an anchor (&name) is not allowed"},
        {BASE "redis: &x {url: 'redis://a'}\n", 3, "redis: an anchor (&name) is not allowed"},
        {BASE "group: *x\n", 3, "group: an alias (*name) is not allowed"},
        {BASE "<<: *x\n", 3, "an alias (*name) is not allowed"},
        {BASE "group: !!str a\n", 3, "group: a tag (!name) is not allowed"},
        {BASE "group: ! a\n", 3, "group: a tag (!name) is not allowed"},
        {BASE "redis: !!map {url: 'redis://a'}\n", 3, "redis: a tag (!name) is not allowed"},
        {BASE "redis:\n  url: redis://a,redis://a\n", 4, "redis.url: names several nodes"},
        {BASE "redis.url: rediss://a\n", 3, "redis.url: rediss://: there is no TLS"},
        {BASE "redis.url: [a, b]\n", 3, "redis.url: a list is not allowed"},
        {BASE "kafka.debug: [a]\n", 3, "kafka.debug: a list is not allowed"},
        {"- a\n", 1, "a list is not allowed"},
        {"just text\n", 1, "expected keys with values"},
        {BASE "? {a: b}\n: c\n", 3, "a key must be a name"},
        {BASE "? [a]\n: c\n", 3, "a list is not allowed"},
        {BASE "'': c\n", 3, "a key must be a name"},
        {BASE "'a b': c\n", 3, "a key has a blank"},
        {BASE "gr\xc3\xb6\x75p: c\n", 3, "not ASCII"},
        {BASE "group: ~\n", 3, "group: null is no value"},
        {BASE "group: null\n", 3, "group: null is no value"},
        {BASE "group: {a: b}\n", 3, "group: takes a value, not further keys"},
        {BASE "redis: x\n", 3, "redis: is a section"},
        {BASE "---\ngroup: x\n", 3, "a second document begins"},
        {BASE "group: [\n", 3, "a list is not allowed"},
        {BASE "group: \"x\n", 3, "not valid YAML: "},
        {BASE "group: b: c\n", 3, "not valid YAML: "},
        {BASE "\tgroup: x\n", 3, "not valid YAML: "},
        {BASE "x: \xff\n", 3, "not valid YAML: "},
        {BASE "x: \x01\n", 3, "not valid YAML: "},
        {BASE "group: \"a\\0b\"\n", 3, "group: holds a NUL character"},
        {BASE "group: \"a\\nb\"\n", 3, "group: holds a control character"},
        {BASE "kafka.group.id: x\n", 3, "kafka.group.id: uptake owns this property: set `group`"},
        {"kafka:\n  bootstrap.servers: a\n  enable.auto.commit: true\n", 3,
         "kafka.enable.auto.commit: uptake owns this property"},
        {BASE "kafka.test.mock.num.brokers: 3\n", 3, "kafka.test.mock.num.brokers: uptake owns this property"},
        {BASE "kafka.metadata.broker.list: x\n", 3, "is another name of kafka.bootstrap.servers"},
        {BASE "\n\nstate_topic: usage-events\n", 5, "state_topic: is the same topic as input.topic"},
        {BASE "input: {framing: none}\n", 3, "input.framing: none needs input.schema_file"},
        {"kafka: {bootstrap.servers: a}\n", 0, "registry.url: is needed"},
        {"registry.url: http://r\n", 0, "kafka.bootstrap.servers: is needed"},
        {"", 0, "kafka.bootstrap.servers: is needed"},
        {"# nothing\n", 0, "kafka.bootstrap.servers: is needed"},
        {"---\n", 0, "kafka.bootstrap.servers: is needed"},
        {BASE "kafka: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}\n", 3, "is given twice"},
        {"kafka: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}\n", 1, "keys are nested deeper than 8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refused(cases[i].text, strlen(cases[i].text), cases[i].line, cases[i].part);
    }
    refused("group: a\0b\n", 11, 1, "not valid YAML");
}

static void
quoted_null_is_text(void **state)
{
    (void)state;
    struct upt_config *config = load(BASE "group: 'null'\ninstance: \"\"\nredis.user:\n");
    assert_string_equal(config->group, "null");
    assert_string_equal(config->redis_user, "");
    upt_config_destroy(&config);
}

static void
size_is_bounded(void **state)
{
    (void)state;
    struct upt_buf text = {0};
    upt_buf_puts(&text, BASE);
    while (text.len < (size_t)300 * 1024) {
        upt_buf_puts(&text, "# filling filling filling filling filling\n");
    }
    refused(text.p, text.len, 0, "is longer than the 256 KiB allowed");
    upt_buf_clear(&text);
    upt_buf_puts(&text, "kafka:\n");
    for (int i = 0; i < 600; i++) {
        upt_buf_printf(&text, "  p%d: v\n", i);
    }
    refused(text.p, text.len, 514, "there are more than 512 properties");
    upt_buf_fini(&text);
    struct upt_config *config = NULL;
    struct upt_error err = {0};
    assert_int_equal(upt_config_load("/nonexistent/u.yaml", &config, &err), UPT_EINVAL);
    assert_string_equal(err.msg, "/nonexistent/u.yaml: cannot be opened: No such file or directory");
    assert_int_equal(upt_config_load(dir, &config, &err), UPT_EINVAL);
    assert_non_null(strstr(err.msg, "cannot be read: Is a directory"));
}

static void
variables(void **state)
{
    (void)state;
    struct upt_config *config = load(BASE "group: ${UPT_TEST_NAME}\ninstance: x-${UPT_TEST_NAME}-${UPT_TEST_NAME}.y\n"
                                          "kafka.a: ${UPT_TEST_DOLLAR}\n"
                                          "kafka.b: $${UPT_TEST_NAME} $$ $ $x $$${UPT_TEST_NAME}\n"
                                          "kafka.c: '$${${UPT_TEST_NAME}}'\n");
    assert_string_equal(config->group, "from-env");
    assert_string_equal(config->instance, "x-from-env-from-env.y");
    assert_string_equal(config->kafka[1].value, "a${UPT_TEST_NAME}b"); /* once only */
    assert_string_equal(config->kafka[2].value, "${UPT_TEST_NAME} $$ $ $x $${UPT_TEST_NAME}");
    assert_string_equal(config->kafka[3].value, "${from-env}");
    upt_config_destroy(&config);
    static const struct {
        const char *text, *part;
    } cases[] = {
        {BASE "group: ${UPT_TEST_UNSET}\n", "group: the environment variable UPT_TEST_UNSET is not set"},
        {BASE "group: ${}\n", "is neither ${NAME} of a variable nor ${file:PATH}"},
        {BASE "group: ${A-B}\n", "is neither"},
        {BASE "group: ${1A}\n", "is neither"},
        {BASE "group: ${A:-b}\n", "is neither"},
        {BASE "group: 'x${UPT_TEST_NAME'\n", "${ without a } after it"},
        {BASE "group: ${UPT_TEST_LATIN1}\n", "group: the value is not text (UTF-8)"},
        {BASE "group: ${file:}\n", "cannot be opened"},
        {BASE "group: ${file:/nonexistent}\n", "/nonexistent cannot be opened"},
        {BASE "group: ${file:/}\n", "/ is not a plain file"},
        {BASE "group: ${file:/dev/null}\n", "/dev/null is not a plain file"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refused(cases[i].text, strlen(cases[i].text), 3, cases[i].part);
    }
}

/* A file that takes redis.password (secret) or group (not) from the secret's file. */
static const char *
text_with(const char *key)
{
    static char text[512];
    snprintf(text, sizeof(text), BASE "%s: ${file:%s}\n", key, secret_path);
    return text;
}

static void
secret_files(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"s3cret$x\r\n", "s3cret$x"},
                                           {"no newline", "no newline"},
                                           {"-----BEGIN\nMII\n-----END\n\n", "-----BEGIN\nMII\n-----END\n"}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file(secret_path, texts[i][0], strlen(texts[i][0]), 0400);
        struct upt_config *config = load(text_with("kafka.ssl.key.pem"));
        assert_string_equal(config->kafka[1].value, texts[i][1]);
        assert_null(config->warning);
        upt_config_destroy(&config);
    }
    static const struct {
        const char *bytes;
        size_t len;
        const char *part;
    } bad[] = {{"", 0, "is empty"},          {"\n", 1, "is empty"},
               {"\r\n", 2, "is empty"},      {"two\nlines", 9, "one line of text is allowed"},
               {"a\0b\n", 4, "is not text"}, {"\xff\n", 2, "is not text"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(secret_path, bad[i].bytes, bad[i].len, 0600);
        const char *text = text_with("redis.password");
        refused(text, strlen(text), 3, bad[i].part);
    }
    struct upt_buf long_line = {0};
    for (int i = 0; i < 70000; i++) {
        upt_buf_puts(&long_line, "a");
    }
    write_file(secret_path, long_line.p, long_line.len, 0600);
    const char *text = text_with("redis.password");
    refused(text, strlen(text), 3, "is longer than 64 KiB");
    upt_buf_fini(&long_line);
}

/* Is taken, and told once, with the place and the way out of it. */
static void
secret_files_of_others(void **state)
{
    (void)state;
    static const mode_t open_modes[] = {0644, 0640, 0604, 0660, 0606, 0601, 0610};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        static const char *const keys[] = {"redis.password", "registry.token", "kafka.sasl.password"};
        char want[400], text[800];
        write_file(secret_path, "s3cret\n", 7, open_modes[i]);
        snprintf(text, sizeof(text), "%sredis.url: redis://u:${file:%s}@h:1\n", text_with(keys[i % 3]), secret_path);
        struct upt_config *config = load(text);
        const char *values[] = {config->redis_password, config->registry_token,
                                config->kafka[config->kafka_n - 1].value};
        assert_string_equal(values[i % 3], "s3cret");
        snprintf(want, sizeof(want),
                 "%s:3: %s: %s holds a secret, and group or others may use it (mode %03o); run: chmod 600 %s", path,
                 keys[i % 3], secret_path, (unsigned)open_modes[i], secret_path);
        assert_string_equal(config->warning, want);
        upt_config_destroy(&config);
    }
    write_file(secret_path, "plain\n", 6, 0644);
    struct upt_config *config = load(text_with("group")); /* no secret, so anybody may read it */
    assert_string_equal(config->group, "plain");
    assert_null(config->warning);
    upt_config_destroy(&config);
}

/* The admin port's token, as `run`, `check` and `show` all read it. */
static void
token_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *token; /* NULL: refused */
    } cases[] = {
        {"s3cret", "s3cret"},
        {"s3cret\n", "s3cret"},
        {"s3cret\nof the admin port\n", "s3cret"},
        {"\t s3 cret \r\n", "s3 cret"},
        {"\ns3cret\n", NULL},
        {"", NULL},
        {" \n", NULL},
        {"s3cr\xe9t\n", NULL},
    };
    char text[200], warning[320];
    snprintf(text, sizeof(text), BASE "admin.token_file: %s\n", secret_path);
    struct upt_config *config = load(text);
    struct upt_buf token = {0};
    struct upt_error err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(secret_path, cases[i].text, strlen(cases[i].text), 0600);
        upt_status status = upt_config_token(config, &token, warning, sizeof(warning), &err);
        assert_int_equal(status, cases[i].token != NULL ? UPT_OK : UPT_EINVAL);
        assert_string_equal(warning, "");
        assert_string_equal(cases[i].token != NULL ? token.p : "", cases[i].token != NULL ? cases[i].token : "");
    }
    write_file(secret_path, "s3cret\n", 7, 0644);
    assert_int_equal(upt_config_token(config, &token, warning, sizeof(warning), &err), UPT_OK);
    assert_non_null(strstr(warning, "run: chmod 600 "));
    assert_int_equal(unlink(secret_path), 0);
    assert_int_equal(upt_config_token(config, &token, warning, sizeof(warning), &err), UPT_EINVAL);
    assert_non_null(strstr(err.msg, "admin.token_file: "));
    upt_buf_fini(&token);
    upt_config_destroy(&config);
}

static void
secrets_in_a_shared_file(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        mode_t mode;
        const char *key; /* that is named; NULL: no warning */
    } cases[] = {
        {"redis.password: hunter2", 0644, "redis.password"},
        {"redis.password: hunter2", 0640, "redis.password"},
        {"redis.password: a$${b", 0604, "redis.password"},
        {"kafka.sasl.password: hunter2", 0644, "kafka.sasl.password"},
        {"kafka.ssl.some.passphrase: hunter2", 0644, "kafka.ssl.some.passphrase"},
        {"registry: {user: u, password: hunter2}", 0644, "registry.password"},
        {"redis.url: redis://u:hunter2@h:1", 0644, "redis.url"},
        {"redis.password: hunter2", 0600, NULL},
        {"redis.password: ''", 0644, NULL},
        {"redis.password: ${UPT_TEST_NAME}", 0644, NULL},
        {"redis.url: redis://h:1", 0644, NULL},
        {"kafka.sasl.oauthbearer.token.endpoint.url: ''", 0644, NULL},
        {"redis.url: redis://u:${UPT_TEST_NAME}@h:1", 0644, NULL},
        {"kafka.ssl.keystore.location: /k", 0644, NULL},
        {"group: hunter2", 0644, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct upt_config *config = NULL;
        struct upt_error err = {0};
        char text[256], part[256];
        int len = snprintf(text, sizeof(text), BASE "%s\n", cases[i].line);
        write_file(path, text, (size_t)len, cases[i].mode);
        assert_int_equal(upt_config_load(path, &config, &err), UPT_OK);
        if (cases[i].key == NULL) {
            assert_null(config->warning);
        } else {
            snprintf(part, sizeof(part), "%s:3: %s: ", path, cases[i].key);
            assert_non_null(config->warning);
            assert_ptr_equal(strstr(config->warning, part), config->warning);
            snprintf(part, sizeof(part), "run: chmod 600 %s, or give it as ${file:PATH}", path);
            assert_non_null(strstr(config->warning, part));
            assert_null(strstr(config->warning, "hunter2"));
        }
        upt_config_destroy(&config);
    }
}

/* Takes a secret from the file as a process without privileges, in a child: whether nothing is told of it. */
static bool
untold_for_nobody(void)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct upt_config *config = NULL;
        bool ok = setegid(65534) == 0 && seteuid(65534) == 0 && upt_config_load(path, &config, NULL) == UPT_OK &&
                  strcmp(config->redis_password, "s3cret") == 0;
        bool told = ok && config->warning != NULL;
        upt_config_destroy(&config);
        _exit(!ok ? 2 : told ? 1 : 0);
    }
    int status = 0;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

static void
roots_files_may_be_shared_with_a_group(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* only root can make such a file */
    }
    const char *text = text_with("redis.password");
    write_file(path, text, strlen(text), 0644);
    write_file(secret_path, "s3cret\n", 7, 0440);
    assert_int_equal(chown(secret_path, 0, 65534), 0);
    assert_int_equal(chmod(dir, 0711), 0);
    assert_true(untold_for_nobody());
    assert_int_equal(chmod(secret_path, 0444), 0);
    assert_false(untold_for_nobody());
    assert_int_equal(chmod(secret_path, 0460), 0);
    assert_false(untold_for_nobody());
    assert_int_equal(unlink(secret_path), 0);
}

static void
printout_reads_back(void **state)
{
    (void)state;
    struct upt_config *config =
        load(BASE "group: g-1\nkafka.a: \"q\\\"\\\\ \\t\\u00e4 $${X} $$ $\"\nkafka.b: '# : {}'\nstart: 2026-01-31\n"
                  "publish_interval: 1500ms\nclock: log\nmax_depth: 7\nkafka.c: \"two\\nlines\\n\"\n");
    struct upt_buf printed = {0};
    upt_config_print(config, &printed);
    upt_buf_put(&printed, "", 1);
    struct upt_config *again = load(printed.p);
    struct upt_buf twice = {0};
    upt_config_print(again, &twice);
    upt_buf_put(&twice, "", 1);
    assert_string_equal(printed.p, twice.p);
    assert_string_equal(again->kafka[1].value, "q\"\\ \t\xc3\xa4 ${X} $$ $");
    assert_string_equal(again->kafka[3].value, "two\nlines\n");
    assert_int_equal(again->publish_interval_ms, 1500);
    upt_buf_fini(&printed);
    upt_buf_fini(&twice);
    upt_config_destroy(&config);
    upt_config_destroy(&again);
}

static void
set_overrides_the_file(void **state)
{
    (void)state;
    struct upt_config *config = load(BASE "group: g-1\nstate_topic: s\n");
    struct upt_error err = {0};
    assert_int_equal(upt_config_set(config, "group", "g-2", NULL), UPT_OK);
    assert_int_equal(upt_config_set(config, "kafka.bootstrap.servers", "c:3", NULL), UPT_OK);
    assert_string_equal(config->group, "g-2");
    assert_string_equal(config->kafka[0].value, "c:3");
    assert_int_equal(upt_config_set(config, "state_topic", "usage-events", NULL), UPT_OK);
    assert_int_equal(upt_config_validate(config, &err), UPT_EINVAL);
    char want[300];
    int n = snprintf(want, sizeof(want), "%s: state_topic: is the same", config->path); /* not its line any more */
    assert_memory_equal(err.msg, want, (size_t)n);
    /* A refused value leaves the old one. */
    assert_int_equal(upt_config_set(config, "threads", "999", NULL), UPT_EINVAL);
    assert_int_equal(config->threads, 0);
    upt_config_destroy(&config);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_file),
        cmocka_unit_test(nested_and_dotted_alike),
        cmocka_unit_test(faults_have_their_lines),
        cmocka_unit_test(quoted_null_is_text),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(variables),
        cmocka_unit_test(secret_files),
        cmocka_unit_test(secret_files_of_others),
        cmocka_unit_test(token_files),
        cmocka_unit_test(secrets_in_a_shared_file),
        cmocka_unit_test(roots_files_may_be_shared_with_a_group),
        cmocka_unit_test(printout_reads_back),
        cmocka_unit_test(set_overrides_the_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
