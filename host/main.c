/* SPDX-License-Identifier: MIT
 *
 * The `watchroom` executable: picks the subcommand. What the services do is in their plugins. */
#include "host.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *const host_services[HOST_SERVICES] = {"hub", "filestore", "ingest", "gateway"};

void host_say(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "watchroom: %s\n", text);
}

static int help(void)
{
    fputs("watchroom: rooms with a live picture, a talk and files\n"
          "\n"
          "  watchroom serve [gateway|hub|ingest|filestore] [flags]\n"
          "                             run everything in this process, or the one service that is "
          "named\n"
          "  watchroom plugins          list the plugins that were found, and why one was refused\n"
          "  watchroom check            read the configuration and say what is wrong with it\n"
          "  watchroom health [SERVICE] ask a running service how it is; exit code 0 when it is "
          "well\n"
          "  watchroom backup [FILE]    write the rooms' log to a file, or to standard output, "
          "while it is used\n"
          "  watchroom restore [FILE]   put it back; the hub does not run meanwhile\n"
          "  watchroom verify [FILE]    read a backup and say whether it is whole\n"
          "  watchroom version\n"
          "\n"
          "flags:\n"
          "  --listen ADDRESS:PORT      of the page (127.0.0.1:8000); for another service, of its "
          "calls (events: PORT + 1)\n"
          "  --health ADDRESS:PORT      of /healthz and /metrics (127.0.0.1, the port after "
          "--listen's); off = none\n"
          "  --data DIR                 messages and files live there (./data)\n"
          "  --config FILE              YAML, see examples/watchroom.yml; else $WATCHROOM_CONFIG\n"
          "  --web DIR                  the built page, when it is not found by itself\n"
          "  --set KEY=VALUE            one key of the configuration, e.g. gateway.max_uploads=8\n"
          "  --split                    run the four services as processes of their own, watched\n"
          "\n"
          "Every key of the configuration is a variable too: gateway.listen is "
          "WATCHROOM_GATEWAY_LISTEN.\n"
          "WATCHROOM_LOG_LEVEL=debug|info|warn|error and WATCHROOM_LOG_FORMAT=text|json choose how "
          "it logs.\n",
          stdout);
    return HOST_OK;
}

static int version(void)
{
    printf("watchroom %s (plugin ABI %u.%u)\n", WR_VERSION, WR_PLUGIN_ABI_MAJOR,
           WR_PLUGIN_ABI_MINOR);
    return HOST_OK;
}

int main(int argc, char **argv)
{
    struct host_options o;
    const char *command = argc > 1 ? argv[1] : "help";
    if (!strcmp(command, "help") || !strcmp(command, "--help") || !strcmp(command, "-h"))
        return help();
    if (!strcmp(command, "version") || !strcmp(command, "--version"))
        return version();

    static const struct {
        const char *name;
        int (*run)(const struct host_options *o);
    } commands[] = {{"serve", host_serve},   {"plugins", host_plugins}, {"check", host_check},
                    {"health", host_health}, {"backup", host_backup},   {"restore", host_restore},
                    {"verify", host_verify}};
    for (size_t i = 0; i < WR_ARRAY_LEN(commands); i++)
        if (!strcmp(command, commands[i].name))
            return !host_options_parse(argc, argv, &o) ? HOST_USAGE
                   : o.help                            ? help()
                                                       : commands[i].run(&o);
    host_say(
        "there is no command \"%.40s\"; there are: serve, plugins, check, health, backup, restore, "
        "verify, version, help",
        command);
    return HOST_USAGE;
}
