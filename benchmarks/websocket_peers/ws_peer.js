// The ws library of node: what the JavaScript world usually takes.
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 1024, perMessageDeflate: true });

server.on("connection", (connection) => {
  let room = null;
  connection.on("error", () => {}); // the client hangs up without a word
  connection.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.task === undefined) {
      room = message.room;
      if (!rooms.has(room)) rooms.set(room, new Set());
      rooms.get(room).add(connection);
      connection.send(JSON.stringify({ msgtype: "joined", room }));
      return;
    }
    const answer = JSON.stringify({ task: message.task, data: message.data });
    const members = message.task === "say" ? rooms.get(room) : [connection];
    for (const member of members) member.send(answer);
  });
  connection.on("close", () => rooms.get(room)?.delete(connection));
});
