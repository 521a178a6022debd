// SPDX-License-Identifier: MIT
// What ingest says of a source that gives no picture, in Chinese: its sentences are English, as its log is, and are here as its
// code has them, a value's place by its format. A sentence that is not here is shown as it came.
import { lang, type Lang } from './i18n'

export const REASONS: Record<string, string> = {
  'the camera refused user or password (401)': '摄像机拒绝了用户名或密码（401）',
  'the camera forbids it to this user (403)': '摄像机不允许此用户访问（403）',
  'the camera has no such path (404): check the address behind the host': '摄像机没有此路径（404），请检查主机名后面的地址',
  "the camera's host refuses the connection: is the port right, is it starting?": '摄像机主机拒绝连接，请确认端口是否正确、设备是否正在启动',
  "the camera's host cannot be reached": '无法连接到摄像机主机',
  "the camera's network cannot be reached": '无法连接到摄像机所在的网络',
  "the camera's host name is not known": '无法解析摄像机的主机名',
  'the camera does not answer': '摄像机没有响应',
  'the camera ended the connection': '摄像机关闭了连接',
  'the camera ended the stream': '摄像机结束了视频流',
  'the camera answers with something that is not RTSP': '摄像机的回应不是 RTSP',
  'the camera offers neither picture nor sound': '摄像机既没有画面也没有声音',
  "connected, waits for the camera's next keyframe": '已连接，正在等待摄像机的下一个关键帧',
  'the camera sends sound but no picture any more': '摄像机只有声音，没有画面',
  'the camera asks for a kind of login that this version does not have': '摄像机要求的登录方式，本版本不支持',
  "the camera's session description holds no media": '摄像机的会话描述中没有媒体',
  'the camera answered %s with status %d': '摄像机对 %s 的回应为状态 %d',
  'no packet from the camera for %lld s': '已有 %lld 秒没有收到摄像机的数据',
  'the camera sends %s video, which this version does not carry: set the camera (or its substream) to H.264 or H.265':
    '摄像机发送的是 %s 视频，本版本不支持，请把摄像机（或其子码流）设为 H.264 或 H.265',
  'the camera sends %s sound, which this version does not carry: set it to AAC, Opus or G.711':
    '摄像机发送的是 %s 声音，本版本不支持，请设为 AAC、Opus 或 G.711',
  "no keyframe for 10 s: set the camera's keyframe interval to 1 or 2 s (it may use intra refresh)":
    '10 秒内没有关键帧，请把摄像机的关键帧间隔设为 1 或 2 秒（它可能使用了帧内刷新）',
}

const VALUE = /%(?:s|d|lld)/g
const withValues = Object.entries(REASONS)
  .filter(([en]) => en.search(VALUE) >= 0)
  .map(([en, zh]) => ({ match: new RegExp(`^${en.replace(/[()?.]/g, '\\$&').replace(VALUE, '(.+)')}$`), zh }))

export function reasonIn(language: Lang, reason: string): string {
  if (language !== 'zh') return reason
  const whole = REASONS[reason]
  if (whole) return whole
  for (const { match, zh } of withValues) {
    const values = match.exec(reason)?.slice(1)
    if (values) return zh.replace(VALUE, () => values.shift() ?? '')
  }
  return reason
}

export function reasonText(reason: string): string {
  return reasonIn(lang, reason)
}
