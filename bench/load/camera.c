/* SPDX-License-Identifier: MIT
 *
 * A camera for measuring: sends an H.264 file (Annex B with access unit delimiters) round and round in real time, with a stamp of
 * the sending time in every frame (stamp.h). Two ways out:
 *
 *   --rtsp PORT   an RTSP server on 127.0.0.1 (RTP over the RTSP connection); any path; a frame's last packet has the marker
 *   --flv -       FLV on standard output, for `ffmpeg -i - -c copy -f flv rtmp://...`: that demuxer adds no frame of delay
 *
 * No sound: one number is to be measured at a time. */
#include "load.h"
#include "stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define RTP_PAYLOAD_MAX 1400
#define FRAME_MAX (4u << 20)
#define RTP_CLOCK 90000

struct span {
    const uint8_t *data;
    size_t size;
};

struct frame {
    size_t first_nal, nals;
    bool key;
};

static struct {
    uint8_t *file;
    struct span *nal;
    size_t nals;
    struct frame *frame;
    size_t frames;
    struct span sps, pps;
    double fps;
} film;

static struct rtsp_client {
    int fd;
    bool playing;
    int channel;
    uint16_t sequence;
    size_t kept;
    char keep[8192];
} clients[CLIENTS_MAX];

/* ---- the film ---- */

static void film_add_nal(const uint8_t *data, size_t size)
{
    while (size > 0 && data[size - 1] == 0) /* the zero of a four-byte start code */
        size--;
    if (size == 0)
        return;
    int type = data[0] & 0x1f;
    if (type == 9) {
        film.frame = bench_realloc(film.frame, (film.frames + 1) * sizeof(*film.frame));
        film.frame[film.frames++] = (struct frame){.first_nal = film.nals};
    }
    if (film.frames == 0)
        bench_die("the film has no access unit delimiters");
    struct span span = {data, size};
    if (type == 7)
        film.sps = span;
    if (type == 8)
        film.pps = span;
    if (type == 5)
        film.frame[film.frames - 1].key = true;
    film.nal = bench_realloc(film.nal, (film.nals + 1) * sizeof(*film.nal));
    film.nal[film.nals++] = span;
    film.frame[film.frames - 1].nals++;
}

static void film_load(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        bench_die("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    film.file = bench_calloc(1, size + 1);
    if (fread(film.file, 1, size, file) != size)
        bench_die("%s: cannot be read", path);
    fclose(file);
    const uint8_t *end = film.file + size, *nal = NULL, *at = film.file;
    while ((at = memmem(at, (size_t)(end - at), "\0\0\1", 3)) != NULL) {
        if (nal != NULL)
            film_add_nal(nal, (size_t)(at - nal));
        at += 3;
        nal = at;
    }
    if (nal != NULL)
        film_add_nal(nal, (size_t)(end - nal));
    if (film.frames < 2 || film.sps.data == NULL || film.pps.data == NULL || !film.frame[0].key)
        bench_die("%s: not a film that begins with a key frame", path);
}

static void stamp_write(uint8_t *nal, uint32_t number, bool key)
{
    char text[STAMP_TEXT_LEN + 1];
    snprintf(text, sizeof(text), "%08x%016llx%c", number, (unsigned long long)bench_now_ns(),
             key ? 'K' : 'P');
    nal[0] = 6;
    nal[1] = 5;
    nal[2] = STAMP_UUID_LEN + STAMP_TEXT_LEN;
    memcpy(nal + 3, STAMP_UUID, STAMP_UUID_LEN);
    memcpy(nal + 3 + STAMP_UUID_LEN, text, STAMP_TEXT_LEN);
    nal[STAMP_NAL_LEN - 1] = 0x80;
}

/* Lists the NAL units of frame `number` in sending order, the stamp before the first slice. */
static size_t frame_nals(uint32_t number, uint8_t *stamp, struct span *list, size_t max)
{
    const struct frame *frame = &film.frame[number % film.frames];
    size_t count = 0;
    bool stamped = false;
    stamp_write(stamp, number, frame->key);
    for (size_t i = 0; i < frame->nals; i++) {
        const struct span *nal = &film.nal[frame->first_nal + i];
        int type = nal->data[0] & 0x1f;
        if (count + 2 > max)
            bench_die("a frame of more than %zu NAL units", max);
        if (!stamped && (type == 1 || type == 5)) {
            list[count++] = (struct span){stamp, STAMP_NAL_LEN};
            stamped = true;
        }
        list[count++] = *nal;
    }
    return count;
}

/* ---- FLV ---- */

static void put24(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 16);
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    put24(at + 1, value);
}

static void write_all(const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(STDOUT_FILENO, data, size);
        if (done <= 0) {
            if (done < 0 && errno == EINTR)
                continue;
            exit(0); /* the reader has gone: the measurement is over */
        }
        data += done;
        size -= (size_t)done;
    }
}

/* `tag` holds the body from offset 11 on. */
static void flv_tag(uint8_t *tag, size_t body, uint32_t time_ms)
{
    tag[0] = 9;
    put24(tag + 1, (uint32_t)body);
    put24(tag + 4, time_ms);
    tag[7] = (uint8_t)(time_ms >> 24);
    put24(tag + 8, 0);
    put32(tag + 11 + body, (uint32_t)(11 + body));
    write_all(tag, 11 + body + 4);
}

static void flv_begin(uint8_t *tag)
{
    static const uint8_t head[13] = {'F', 'L', 'V', 1, 1, 0, 0, 0, 9, 0, 0, 0, 0};
    write_all(head, sizeof(head));
    uint8_t *p = tag + 11;
    const uint8_t fixed[] = {
        0x17, 0, 0, 0, 0, 1, film.sps.data[1], film.sps.data[2], film.sps.data[3], 0xff, 0xe1};
    memcpy(p, fixed, sizeof(fixed));
    p += sizeof(fixed);
    *p++ = (uint8_t)(film.sps.size >> 8);
    *p++ = (uint8_t)film.sps.size;
    memcpy(p, film.sps.data, film.sps.size);
    p += film.sps.size;
    *p++ = 1;
    *p++ = (uint8_t)(film.pps.size >> 8);
    *p++ = (uint8_t)film.pps.size;
    memcpy(p, film.pps.data, film.pps.size);
    p += film.pps.size;
    flv_tag(tag, (size_t)(p - tag) - 11, 0);
}

static void flv_frame(uint8_t *tag, uint32_t number)
{
    struct span list[64];
    uint8_t stamp[STAMP_NAL_LEN];
    size_t count = frame_nals(number, stamp, list, 64);
    uint8_t *p = tag + 11;
    *p++ = film.frame[number % film.frames].key ? 0x17 : 0x27;
    *p++ = 1;
    put24(p, 0);
    p += 3;
    for (size_t i = 0; i < count; i++) {
        put32(p, (uint32_t)list[i].size);
        memcpy(p + 4, list[i].data, list[i].size);
        p += 4 + list[i].size;
    }
    flv_tag(tag, (size_t)(p - tag) - 11, (uint32_t)((double)number * 1000.0 / film.fps));
}

/* ---- RTSP ---- */

static void client_drop(struct rtsp_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    *client = (struct rtsp_client){.fd = -1};
}

/* A server under measurement that does not take 2 Mbit/s has failed: it is cut off, not waited for. */
static void client_send(struct rtsp_client *client, const uint8_t *data, size_t size)
{
    while (size > 0 && client->fd >= 0) {
        ssize_t done = send(client->fd, data, size, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = client->fd, .events = POLLOUT};
            if (poll(&wait, 1, 500) == 1)
                continue;
        }
        if (done <= 0) {
            fprintf(stderr, "camera: a reader was too slow or has gone\n");
            client_drop(client);
            return;
        }
        data += done;
        size -= (size_t)done;
    }
}

static size_t rtp_head(uint8_t *at, struct rtsp_client *client, size_t payload, uint32_t time,
                       bool last)
{
    at[0] = '$';
    at[1] = (uint8_t)client->channel;
    at[2] = (uint8_t)((payload + 12) >> 8);
    at[3] = (uint8_t)(payload + 12);
    at[4] = 0x80;
    at[5] = (uint8_t)(96u | (last ? 0x80u : 0u));
    at[6] = (uint8_t)(client->sequence >> 8);
    at[7] = (uint8_t)client->sequence;
    client->sequence++;
    put32(at + 8, time);
    put32(at + 12, 0x57524d21);
    return 16;
}

static void rtsp_frame(struct rtsp_client *client, uint8_t *buffer, uint32_t number)
{
    struct span list[64];
    uint8_t stamp[STAMP_NAL_LEN];
    size_t count = frame_nals(number, stamp, list, 64), len = 0;
    uint32_t time = (uint32_t)((double)number * RTP_CLOCK / film.fps);
    for (size_t i = 0; i < count; i++) {
        const struct span *nal = &list[i];
        bool last_nal = i + 1 == count;
        if (nal->size <= RTP_PAYLOAD_MAX) {
            len += rtp_head(buffer + len, client, nal->size, time, last_nal);
            memcpy(buffer + len, nal->data, nal->size);
            len += nal->size;
            continue;
        }
        for (size_t at = 1; at < nal->size;) { /* FU-A */
            size_t take = nal->size - at < RTP_PAYLOAD_MAX - 2 ? nal->size - at
                                                               : RTP_PAYLOAD_MAX - 2;
            bool last = at + take == nal->size;
            len += rtp_head(buffer + len, client, take + 2, time, last_nal && last);
            buffer[len++] = (uint8_t)((nal->data[0] & 0xe0) | 28);
            buffer[len++] = (uint8_t)((nal->data[0] & 0x1f) | (at == 1 ? 0x80 : 0) |
                                      (last ? 0x40 : 0));
            memcpy(buffer + len, nal->data + at, take);
            len += take;
            at += take;
        }
    }
    client_send(client, buffer, len);
}

static void base64(const struct span *in, char *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;
    for (size_t i = 0; i < in->size; i += 3) {
        uint32_t bits = (uint32_t)in->data[i] << 16;
        bits |= i + 1 < in->size ? (uint32_t)in->data[i + 1] << 8 : 0;
        bits |= i + 2 < in->size ? in->data[i + 2] : 0;
        out[at++] = digit[bits >> 18];
        out[at++] = digit[(bits >> 12) & 63];
        out[at++] = i + 1 < in->size ? digit[(bits >> 6) & 63] : '=';
        out[at++] = i + 2 < in->size ? digit[bits & 63] : '=';
    }
    out[at] = '\0';
}

static void rtsp_request(struct rtsp_client *client, char *text)
{
    char answer[4096], extra[2048] = "", body[1024] = "", sps[512], pps[256];
    const char *cseq = strcasestr(text, "\nCSeq:");
    int number = cseq != NULL ? atoi(cseq + 6) : 0;
    const char *status = "200 OK";
    if (strncmp(text, "OPTIONS", 7) == 0) {
        snprintf(extra, sizeof(extra),
                 "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n");
    } else if (strncmp(text, "DESCRIBE", 8) == 0) {
        base64(&film.sps, sps);
        base64(&film.pps, pps);
        snprintf(body, sizeof(body),
                 "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 0.0.0.0\r\nt=0 "
                 "0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
                 "a=rtpmap:96 H264/90000\r\na=framerate:%g\r\n"
                 "a=fmtp:96 "
                 "packetization-mode=1;profile-level-id=%02X%02X%02X;sprop-parameter-sets=%s,%"
                 "s\r\na=control:track1\r\n",
                 film.fps, film.sps.data[1], film.sps.data[2], film.sps.data[3], sps, pps);
        snprintf(extra, sizeof(extra), "Content-Type: application/sdp\r\nContent-Length: %zu\r\n",
                 strlen(body));
    } else if (strncmp(text, "SETUP", 5) == 0) {
        const char *at = strcasestr(text, "interleaved=");
        if (at == NULL || strcasestr(text, "RTP/AVP/TCP") == NULL) {
            status = "461 Unsupported Transport";
        } else {
            client->channel = atoi(at + 12);
            snprintf(extra, sizeof(extra),
                     "Session: 1;timeout=60\r\nTransport: "
                     "RTP/AVP/TCP;unicast;interleaved=%d-%d;ssrc=57524D21\r\n",
                     client->channel, client->channel + 1);
        }
    } else if (strncmp(text, "PLAY", 4) == 0) {
        client->playing = true;
        snprintf(extra, sizeof(extra), "Session: 1\r\nRange: npt=0.000-\r\n");
    } else {
        snprintf(extra, sizeof(extra), "Session: 1\r\n");
    }
    int len = snprintf(answer, sizeof(answer), "RTSP/1.0 %s\r\nCSeq: %d\r\n%s\r\n%s", status,
                       number, extra, body);
    client_send(client, (const uint8_t *)answer, (size_t)len);
}

static void rtsp_read(struct rtsp_client *client)
{
    ssize_t got = recv(client->fd, client->keep + client->kept,
                       sizeof(client->keep) - 1 - client->kept, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            client_drop(client);
        return;
    }
    client->kept += (size_t)got;
    for (;;) {
        client->keep[client->kept] = '\0';
        size_t used = 0;
        if (client->kept >= 4 && client->keep[0] == '$') { /* RTCP of the reader */
            used = 4 + ((size_t)(uint8_t)client->keep[2] << 8 | (uint8_t)client->keep[3]);
            if (used > client->kept)
                return;
        } else {
            char *end = strstr(client->keep, "\r\n\r\n");
            if (end == NULL)
                return;
            *end = '\0';
            rtsp_request(client, client->keep);
            if (client->fd < 0)
                return;
            used = (size_t)(end - client->keep) + 4;
        }
        client->kept -= used;
        memmove(client->keep, client->keep + used, client->kept);
    }
}

static void rtsp_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].fd < 0) {
            clients[i].fd = fd;
            return;
        }
    close(fd);
}

/* Answers requests until `until_ns`. */
static void rtsp_serve(int listener, int64_t until_ns)
{
    for (;;) {
        int64_t left_ms = (until_ns - bench_now_ns()) / BENCH_NS_PER_MS;
        struct pollfd list[CLIENTS_MAX + 1] = {{.fd = listener, .events = POLLIN}};
        for (int i = 0; i < CLIENTS_MAX; i++)
            list[i + 1] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        if (left_ms <= 0 || poll(list, CLIENTS_MAX + 1, (int)left_ms) <= 0)
            break;
        if (list[0].revents != 0)
            rtsp_accept(listener);
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (list[i + 1].revents != 0 && clients[i].fd >= 0)
                rtsp_read(&clients[i]);
    }
    bench_sleep_until(until_ns);
}

static int rtsp_listen(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 16) != 0)
        bench_die("port %d: %s", port, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    struct bench_args args;
    bench_args_init(&args, argc, argv);
    const char *path = bench_arg(&args, "film", NULL);
    int rtsp_port = (int)bench_arg_num(&args, "rtsp", 0);
    bool flv = bench_arg(&args, "flv", NULL) != NULL;
    double seconds = bench_arg_num(&args, "seconds", 600);
    film.fps = bench_arg_num(&args, "fps", 25);
    bench_args_done(&args);
    if (path == NULL || flv == (rtsp_port != 0))
        bench_die("--film FILE and one of --rtsp PORT, --flv - are needed");
    signal(SIGPIPE, SIG_IGN);
    film_load(path);
    uint8_t *buffer = bench_calloc(1, FRAME_MAX);
    for (int i = 0; i < CLIENTS_MAX; i++)
        clients[i].fd = -1;
    int listener = rtsp_port != 0 ? rtsp_listen(rtsp_port) : -1;
    if (flv)
        flv_begin(buffer);
    int64_t start_ns = bench_now_ns();
    uint32_t total = (uint32_t)(seconds * film.fps);
    for (uint32_t number = 0; number < total; number++) {
        int64_t at_ns = start_ns + (int64_t)((double)number / film.fps * 1e9);
        if (flv) {
            bench_sleep_until(at_ns);
            flv_frame(buffer, number);
            continue;
        }
        rtsp_serve(listener, at_ns);
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (clients[i].playing)
                rtsp_frame(&clients[i], buffer, number);
    }
    return 0;
}
