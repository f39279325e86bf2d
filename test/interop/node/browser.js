"use strict";
// What @dcos/mesos-client needs of a browser: an XMLHttpRequest whose response grows while it comes, as a page sees it. Those of
// npm have the response only when it has ended.
const http = require("http");

class XMLHttpRequest {
  constructor() {
    Object.assign(this, { status: 0, statusText: "", response: "", responseType: "", timeout: 0, headers: {}, listeners: {} });
  }
  addEventListener(type, f) {
    (this.listeners[type] = this.listeners[type] || []).push(f);
  }
  tell(type) {
    (this.listeners[type] || []).forEach((f) => f());
  }
  open(method, url) {
    Object.assign(this, { method, url });
  }
  setRequestHeader(name, value) {
    this.headers[name] = value;
  }
  send(body) {
    this.request = http.request(this.url, { method: this.method, headers: this.headers }, (res) => {
      Object.assign(this, { status: res.statusCode, statusText: res.statusMessage });
      res.setEncoding("utf8");
      res.on("data", (text) => {
        this.response += text;
        this.tell("progress");
      });
      res.on("end", () => this.tell("load"));
      res.on("error", () => this.tell("error"));
    });
    this.request.on("error", () => this.tell("error"));
    this.request.end(body);
  }
  abort() {
    this.request.destroy();
    this.tell("abort");
  }
}

module.exports = { XMLHttpRequest };
