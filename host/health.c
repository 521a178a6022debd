/* SPDX-License-Identifier: MIT
 *
 * `watchroom health`: asks a running service through its own door, as its clients do: a call on the bus, or a GET. An open
 * port alone proves nothing (a listener that died still has its backlog). */
#include "host.h"

#include "watchroom/v1/node.pb-c.h"
#include "wr_bus.h"
#include "wr_log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define DEADLINE_MS 3000

static int report_node(const char *service, const char *url, const struct wr_slice *body)
{
    int code = HOST_FAILED;
    Watchroom__V1__NodeInfo *n = watchroom__v1__node_info__unpack(NULL, body->n, body->p);
    if (!n)
        host_say("%s at %s answers, but not as a service of this version", service, url);
    else if (n->draining)
        host_say("%s at %s is shutting down", service, url);
    else if (*n->reason)
        host_say("%s at %s is not well: %s", service, url, n->reason);
    else {
        printf("%s is well: %s, version %s, up %llu s\n", service, n->instance, n->version,
               (unsigned long long)(n->uptime_ms / 1000));
        code = HOST_OK;
    }
    if (n)
        watchroom__v1__node_info__free_unpacked(n, NULL);
    return code;
}

static int bus_health(const char *service, const char *listen)
{
    struct wr_bus_opts opts = {0};
    struct wr_bus *bus = NULL;
    struct wr_bus_service *s = NULL;
    struct wr_msg *answer = NULL;
    struct wr_slice body = {0};
    struct wr_errmsg err = {""};
    char url[256];
    int code = HOST_FAILED;
    if (!strncmp(listen, "tcp://", 6)) {
        memcpy(url, "tcp://", 7);
        host_dial_address(listen + 6, url + 6, sizeof url - 6);
    } else {
        snprintf(url, sizeof url, "%s", listen);
    }
    if (!strncmp(url, "inproc://", 9)) {
        host_say(
            "%s is configured at %s, inside another process; ask the gateway: watchroom health",
            service, url);
        return HOST_USAGE;
    }
    wr_log_set_level(WR_LOG_ERROR); /* the answer is the sentence below, not the bus's diary */
    if (wr_bus_open(&opts, &bus) || wr_bus_service_open(bus, service, url, &s, &err)) {
        host_say("%s at %s: %s", service, url, err.text);
        goto out;
    }
    wr_err e = wr_bus_call_wait(s, NULL, "watchroom.v1.Node/Describe", NULL, DEADLINE_MS, &answer,
                                &body, &err);
    if (e)
        host_say("%s at %s does not answer: %s", service, url,
                 *err.text ? err.text : wr_err_text(e));
    else
        code = report_node(service, url, &body);
out:
    wr_msg_unref(answer);
    wr_bus_service_close(&s);
    wr_bus_close(&bus);
    return code;
}

static int dial(const char *address)
{
    char host[128], *colon;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval limit = {.tv_sec = DEADLINE_MS / 1000};
    snprintf(host, sizeof host, "%s", address);
    colon = strrchr(host, ':');
    if (!colon)
        return -1;
    *colon = '\0';
    char *name = host;
    if (name[0] == '[' && colon > name && colon[-1] == ']') {
        colon[-1] = '\0';
        name++;
    }
    if (getaddrinfo(name, colon + 1, &hints, &found) != 0 || !found)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, found->ai_addr, found->ai_addrlen) < 0) {
            int why = errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static int http_health(const char *listen)
{
    char address[128], request[256], answer[4096];
    size_t n = 0;
    int code = HOST_FAILED;
    host_dial_address(listen, address, sizeof address);
    int fd = dial(address);
    if (fd < 0) {
        host_say("gateway at %s does not answer: %s", address, strerror(errno));
        return HOST_FAILED;
    }
    int len = snprintf(request, sizeof request,
                       "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address);
    ssize_t got = send(fd, request, (size_t)len, MSG_NOSIGNAL);
    while (got > 0 && n < sizeof answer - 1 &&
           (got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0)
        n += (size_t)got;
    close(fd);
    answer[n] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");
    int status = !strncmp(answer, "HTTP/1.", 7) && n > 12 ? (int)strtol(answer + 9, NULL, 10) : 0;
    body = body ? body + 4 : "";
    if (status == 200) {
        printf("gateway is well: %s\n", address);
        code = HOST_OK;
    } else if (status) {
        host_say("gateway at %s is not well (%d): %.*s", address, status, (int)strcspn(body, "\r"),
                 body);
    } else {
        host_say("gateway at %s took the connection and did not answer within %d s", address,
                 DEADLINE_MS / 1000);
    }
    return code;
}

int host_health(const struct host_options *o)
{
    struct host_options asked = *o;
    asked.listen = NULL;
    struct wr_config *c = host_config_load(o->service && strcmp(o->service, "gateway") ? o
                                                                                       : &asked);
    int code = HOST_USAGE;
    if (!c)
        return HOST_USAGE;
    if (o->service && !strcmp(o->service, "hub"))
        code = bus_health("hub", c->bus.hub_listen);
    else if (o->service && !strcmp(o->service, "ingest"))
        code = bus_health("ingest", c->bus.ingest_listen);
    else if (o->service && !strcmp(o->service, "filestore"))
        code = bus_health("filestore", c->bus.filestore_listen);
    else if (o->listen)
        code = http_health(o->listen);
    else
        code = http_health(*c->gateway.health ? c->gateway.health : c->gateway.listen);
    wr_config_free(&c);
    return code;
}
