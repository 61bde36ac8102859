import { FakeServer } from '../support/fake-server.js'
import { conversationSuite } from '../support/suite.js'

conversationSuite('the fake server', () => FakeServer.start())
