/* SPDX-License-Identifier: MIT
 *
 * What the rooms count. */
#include "rooms_priv.h"

#define C(v, n, t) WR_SHARED_COUNTER(v, n, NULL, t)
#define G(v, n, t) WR_SHARED_GAUGE(v, n, NULL, t)

G(rooms__g_rooms, "watchroom_gateway_rooms", "Rooms that this gateway follows");
G(rooms__g_subs, "watchroom_gateway_members", "Memberships of clients in rooms");
G(rooms__g_outbox, "watchroom_gateway_outbox_messages",
  "Published messages that wait for the hub's acknowledgement");
G(rooms__g_held, "watchroom_gateway_held_events",
  "Room events that wait for the log to fill a gap before them");
G(rooms__g_hubs, "watchroom_gateway_hubs_up", "Hubs that answer: each has a share of the rooms");
C(rooms__m_moved, "watchroom_gateway_rooms_moved_total",
  "Rooms that went to another hub because one came or went");
C(rooms__m_events_elsewhere, "watchroom_gateway_room_events_elsewhere_total",
  "Room events of a hub that is not the room's, left out");
C(rooms__m_events, "watchroom_gateway_room_events_total", "Room events from hubs");
C(rooms__m_events_unknown, "watchroom_gateway_room_events_unknown_total",
  "Room events of rooms without members here");
C(rooms__m_events_dropped, "watchroom_gateway_room_events_dropped_total",
  "Room events dropped because the rooms thread's queue was full; the log fills them in");
C(rooms__m_pubs, "watchroom_gateway_publications_total",
  "Publications delivered to a room's members (once a room)");
C(rooms__m_fills, "watchroom_gateway_fills_total",
  "Gaps in a room's events for which the log was read");
C(rooms__m_filled, "watchroom_gateway_filled_publications_total",
  "Publications that came from the log instead of an event");
C(rooms__m_lost, "watchroom_gateway_gaps_total",
  "Gaps that the log could not fill any more (retention)");
C(rooms__m_epochs, "watchroom_gateway_epoch_changes_total", "Rooms whose log began anew");
C(rooms__m_published, "watchroom_gateway_published_total", "Messages of clients that a hub stored");
C(rooms__m_publish_failed, "watchroom_gateway_publish_failed_total",
  "Messages of clients that were answered with an error");
C(rooms__m_publish_retries, "watchroom_gateway_publish_retries_total",
  "Publish calls that were made again");
C(rooms__m_outbox_full, "watchroom_gateway_outbox_full_total",
  "Messages refused because too many wait for the hub");
C(rooms__m_recovered, "watchroom_gateway_recovered_total",
  "Subscriptions that got everything they had missed");
C(rooms__m_not_recovered, "watchroom_gateway_not_recovered_total",
  "Subscriptions whose position could not be recovered");
C(rooms__m_bad_bus, "watchroom_gateway_bad_bus_messages_total",
  "Malformed events and answers from the bus");
C(rooms__m_duplicates, "watchroom_gateway_duplicate_publications_total",
  "Publications that came twice and were skipped");
WR_SHARED_HISTOGRAM(rooms__h_publish, "watchroom_gateway_publish_seconds", NULL,
                    "Time from a client's publish to the hub's acknowledgement");
