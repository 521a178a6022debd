/* SPDX-License-Identifier: MIT
 *
 * What the plane counts. */
#include "plane_priv.h"

#define C(v, n, t) WR_SHARED_COUNTER(v, n, NULL, t)
#define G(v, n, t) WR_SHARED_GAUGE(v, n, NULL, t)

G(plane__g_conns, "watchroom_plane_connections", "Client connections that the plane holds");
G(plane__g_inbox, "watchroom_plane_inbox_sends",
  "Sends that wait in the inboxes of the plane's threads");
C(plane__m_accepted, "watchroom_plane_accepted_total", "Client connections accepted");
C(plane__m_refused, "watchroom_plane_refused_total",
  "Clients refused: too many connections, or shutting down");
C(plane__m_share_full, "watchroom_plane_share_full_total",
  "Clients refused: their address had its share of connections");
C(plane__m_no_descriptors, "watchroom_plane_no_descriptors_total",
  "Clients refused: the process was out of file descriptors");
C(plane__m_stream_stalled, "watchroom_plane_stream_stalled_total",
  "Connections cut because the client took nothing of its answer for 60 s");
C(plane__m_tcp_idle, "watchroom_plane_tcp_idle_total",
  "Raw TCP connections closed because no whole message came in time");
C(plane__m_closed, "watchroom_plane_closed_total", "Sockets that ended");
C(plane__m_slow, "watchroom_plane_slow_total",
  "Connections closed with 3008 because their queue was full");
C(plane__m_media_dropped, "watchroom_plane_media_dropped_total",
  "Media frames that a slow viewer did not get");
C(plane__m_media_stalled, "watchroom_plane_media_stalled_total",
  "Viewers closed because they took nothing for 10 s");
C(plane__m_sent_frames, "watchroom_plane_sent_frames_total", "Frames written to sockets");
C(plane__m_sent_bytes, "watchroom_plane_sent_bytes_total", "Bytes written to sockets");
C(plane__m_send_calls, "watchroom_plane_send_calls_total", "System calls that wrote to sockets");
C(plane__m_received, "watchroom_plane_received_messages_total", "Messages from clients");
C(plane__m_protocol_errors, "watchroom_plane_protocol_errors_total",
  "Connections closed for a fault of the WebSocket protocol, bad UTF-8 or a message over the "
  "limit");
C(plane__m_dead_peers, "watchroom_plane_dead_peers_total",
  "Connections closed because no pong came");
C(plane__m_inbox_full, "watchroom_plane_inbox_full_total",
  "Sends refused because a thread's inbox was full");
