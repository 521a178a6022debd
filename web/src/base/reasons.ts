// SPDX-License-Identifier: MIT
// What ingest says of a source that gives no picture, in Chinese: its sentences are English, as its log is. A sentence that
// is not here is shown as it came.
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
}

export function reasonIn(language: Lang, reason: string): string {
  return (language === 'zh' && REASONS[reason]) || reason
}

export function reasonText(reason: string): string {
  return reasonIn(lang, reason)
}
