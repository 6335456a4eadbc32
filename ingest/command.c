/* What commands share: options, configuration, errors. See command.h. */
#include "ingest/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "uptake/log.h"

static struct upt_option *
find(struct upt_option *options, size_t n, const char *name, size_t len)
{
    if (len == 6 && strncmp(name, "config", 6) == 0) {
        name = "c";
        len = 1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static int
usage_error(const struct upt_command *command, const char *what, const char *arg)
{
    fprintf(stderr, "uptake %s: %s: %s\nUsage: uptake %s %s\n", command->name, arg, what, command->name,
            command->usage);
    return EX_USAGE;
}

/* Takes the option at argv[*i]; *i moves past its value. */
static int
take_option(const struct upt_command *command, int argc, char **argv, int *i, struct upt_option *options, size_t n)
{
    const char *arg = argv[*i];
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    const char *equals = strchr(name, '=');
    struct upt_option *option = find(options, n, name, equals != NULL ? (size_t)(equals - name) : strlen(name));
    if (option == NULL) {
        return usage_error(command, "there is no such option", arg);
    }
    if (option->value != NULL) {
        return usage_error(command, "given twice", arg);
    }
    if (!option->takes_value) {
        option->value = "";
        return equals != NULL ? usage_error(command, "takes no value", arg) : 0;
    }
    if (equals != NULL) {
        option->value = equals + 1;
    } else if (*i + 1 < argc) {
        option->value = argv[++*i];
    } else {
        return usage_error(command, "needs a value", arg);
    }
    return 0;
}

int
upt_options_parse(const struct upt_command *command, int argc, char **argv, struct upt_option *options, size_t n,
                  const char **args, size_t args_max, size_t *ret_args)
{
    size_t got = 0;
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            printf("Usage: uptake %s %s\n\n%s\n%s", command->name, command->usage, command->summary, command->help);
            return -1;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1] != '\0') {
            int rc = take_option(command, argc, argv, &i, options, n);
            if (rc != 0) {
                return rc;
            }
        } else if (got < args_max) {
            args[got++] = argv[i];
        } else {
            return usage_error(command, "one argument too many", argv[i]);
        }
    }
    if (ret_args != NULL) {
        *ret_args = got;
    }
    return 0;
}

const char *
upt_option(const struct upt_option *options, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return options[i].value;
        }
    }
    return NULL;
}

bool
upt_option_number(const struct upt_command *command, const struct upt_option *options, size_t n, const char *name,
                  long long min, long long max, long long *inout)
{
    const char *text = upt_option(options, n, name);
    char *end = NULL;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || v < min || v > max) {
        fprintf(stderr, "uptake %s: --%s %s: a whole number from %lld to %lld is wanted\n", command->name, name, text,
                min, max);
        return false;
    }
    *inout = v;
    return true;
}

int
upt_command_load(const struct upt_option *options, size_t n, bool required, struct upt_config **ret,
                 struct upt_error *ret_err)
{
    const char *path = upt_option(options, n, "c");
    if (path == NULL && required) {
        (void)upt_fail(ret_err, UPT_EINVAL, "a configuration is needed: -c FILE");
        return EX_USAGE;
    }
    upt_status status = path != NULL ? upt_config_load(path, ret, ret_err) : upt_config_default(ret, ret_err);
    if (status != UPT_OK) {
        return upt_exit_code(status);
    }
    upt_log_set_level(upt_log_level_of((*ret)->log_level));
    upt_log_set_json(strcmp((*ret)->log_format, "json") == 0 ? 1 : strcmp((*ret)->log_format, "text") == 0 ? 0 : -1);
    return 0;
}

int
upt_command_config(const struct upt_option *options, size_t n, bool required, struct upt_config **ret)
{
    struct upt_error err;
    int rc = upt_command_load(options, n, required, ret, &err);
    if (rc != 0) {
        fprintf(stderr, "uptake: %s\n", err.msg);
    }
    return rc;
}

int
upt_command_fail(const struct upt_command *command, const struct upt_error *err)
{
    fprintf(stderr, "uptake %s: %s\n", command->name, err->msg);
    return upt_exit_code(err->code);
}
