/* The commands of the binary: each cmd_*.c has one, main.c has the table. Return sysexits codes. */
#ifndef UPT_COMMAND_H
#define UPT_COMMAND_H

#include "uptake/config.h"
#include "uptake/status.h"

struct upt_command {
    const char *name;
    const char *usage;                 /* after "uptake NAME " */
    const char *summary;               /* one line */
    const char *help;                  /* more lines, options */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

extern const struct upt_command upt_cmd_run, upt_cmd_demo, upt_cmd_generate, upt_cmd_check, upt_cmd_show, upt_cmd_top,
    upt_cmd_alerts, upt_cmd_dead_letters, upt_cmd_forget, upt_cmd_verify, upt_cmd_fit;

/* Options of a command: --name VALUE, --name=VALUE, --flag, -c FILE. One table, read once, a repeat is an error. */
struct upt_option {
    const char *name; /* "until-end"; "c" is also -c and "config" */
    bool takes_value;
    const char *value; /* set by upt_options_parse: the text, or "" for a flag; NULL: not given */
};

/* Parses argv; positional arguments are left in args (≤ args_max). On failure prints one line and returns EX_USAGE, on
 * --help prints the help and returns −1 (exit 0); 0: go on. */
int upt_options_parse(const struct upt_command *command, int argc, char **argv, struct upt_option *options, size_t n,
                      const char **args, size_t args_max, size_t *ret_args);
const char *upt_option(const struct upt_option *options, size_t n, const char *name); /* NULL: not given */
/* A decimal number within bounds; on failure prints one line and returns false. */
bool upt_option_number(const struct upt_command *command, const struct upt_option *options, size_t n, const char *name,
                       long long min, long long max, long long *inout);

/* Loads -c FILE (or defaults when `required` is false and none is given) and sets up logging. On failure prints and
 * returns the exit code; 0: *ret is set. */
int upt_command_config(const struct upt_option *options, size_t n, bool required, struct upt_config **ret);
/* The same without a word: on failure *ret_err has the message, of which upt_command_config makes a line. */
int upt_command_load(const struct upt_option *options, size_t n, bool required, struct upt_config **ret,
                     struct upt_error *ret_err);
/* Prints "uptake NAME: message" and returns the exit code of the error. */
int upt_command_fail(const struct upt_command *command, const struct upt_error *err);

#endif
