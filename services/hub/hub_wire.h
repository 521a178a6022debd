/* SPDX-License-Identifier: MIT
 *
 * The messages of the hot path by hand, so that a publish costs no allocation an entry: reading PublishRequest and
 * ClientInfo as borrowed slices, writing PublishResponse, RoomEvent and Publication. Everything else uses the generated
 * code. hub_wire_test.c holds both against each other. */
#ifndef HUB_WIRE_H
#define HUB_WIRE_H

#include "wr_err.h"
#include "wr_msg.h"
#include "wr_pb.h"

#define HUB_MAX_INFO_BYTES 8192u
#define HUB_MIN_KEY_BYTES 8u
#define HUB_MAX_KEY_BYTES 32u
#define HUB_MAX_CLIENT_BYTES 64u
#define HUB_MAX_USER_BYTES 255u

/* One item of a PublishRequest; borrowed. */
struct hub_item {
    struct wr_slice room, info, key, type, data;
    uint32_t kind;
};
/* False when malformed. */
bool hub__read_item(struct wr_slice bytes, struct hub_item *out);

/* Checks an encoded ClientInfo: sizes, UTF-8, JSON on one line. user and client are borrowed. Static text in *why. */
bool hub__read_info(struct wr_slice bytes, struct wr_slice *user, struct wr_slice *client,
                    const char **why);

/* What of a publication goes onto the wire; a stored entry and an entry that was read back look alike. */
struct hub_publication {
    uint64_t offset;
    int64_t time_ms;
    uint32_t kind;
    struct wr_slice info, key, type, data;
};
/* Bytes of the encoded Publication, and of it as a field of another message (numbers up to 15). */
size_t hub__publication_size(const struct hub_publication *p);
size_t hub__publication_field_size(const struct hub_publication *p);
uint8_t *hub__write_publication_field(uint8_t *to, uint32_t number,
                                      const struct hub_publication *p);

/* One PublishResult. */
struct hub_result {
    wr_err code;
    struct wr_slice message; /* on an error */
    uint64_t offset;
    const char *epoch;
    int64_t time_ms;
    bool duplicate;
};
size_t hub__result_field_size(const struct hub_result *r);
uint8_t *hub__write_result_field(uint8_t *to, uint32_t number, const struct hub_result *r);

/* An Event with a RoomEvent, of which the repeated fields follow. */
struct hub_event_head {
    const char *instance;
    struct wr_slice room;
    const char *epoch; /* "" = says nothing of positions */
    uint64_t top;
    bool has_num_clients;
    uint32_t num_clients;
};
/* A message with the head written and room for `body` more bytes of the RoomEvent, which the caller writes at *at.
 * NULL only when memory is out. */
struct wr_msg *hub__event_new(const struct hub_event_head *h, size_t body, uint8_t **at);

/* Size of a field: its one-byte tag (numbers up to 15), length and content; 0 for an omitted one. */
static inline size_t hub__uint_size(uint64_t v)
{
    return v ? 1 + wr_pb_varint_size(v) : 0;
}
static inline size_t hub__bytes_size(size_t n)
{
    return n ? 1 + wr_pb_varint_size(n) + n : 0;
}

#endif
