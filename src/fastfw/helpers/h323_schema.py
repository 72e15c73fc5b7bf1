"""The messages of H.323 in ASN.1, as far as addresses in them are concerned.

H.225.0 (call signalling and RAS) and H.245 (control) as the ITU publishes them, cut to what must be read to get at
the addresses: names, order, ranges and extension marks are theirs, for the aligned packed encoding (X.691) depends on
them. What follows the last address wanted is left out, a message in which none is wanted is NULL; an addition behind
an extension mark that is only stepped over is called `skipN` and is NULL, as its length stands before it, and `skipsN`
stands for N of them; at one called `stop`, and at what comes behind it, reading ends. Where nothing behind the last
address is read at all, the bit that stands for the extension mark is the first of those that tell what optional there
is: `extended`; and what is not read is NULL there too. Object identifiers and texts are read as the octets, numbers or
digits that they are encoded as: what is skipped need not make sense.
"""

H225 = """
H225 DEFINITIONS AUTOMATIC TAGS ::= BEGIN

UserInformation ::= SEQUENCE { pdu UuPdu, userData NULL OPTIONAL, ... }

UuPdu ::= SEQUENCE {
  body CHOICE {
    setup Setup, callProceeding Proceeding, connect Connect, alerting Alerting, information Identified,
    releaseComplete ReleaseComplete, facility Facility, ..., progress Progress, empty NULL },
  nonStandardData NonStandard OPTIONAL,
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  h245Control SEQUENCE OF CONTAINED ControlMessage OPTIONAL,
  stop NULL OPTIONAL
}

Identified ::= SEQUENCE { protocolIdentifier OBJECT IDENTIFIER, ..., skips14 NULL OPTIONAL }

ReleaseComplete ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  reason CHOICE { r0 NULL, r1 NULL, r2 NULL, r3 NULL, r4 NULL, r5 NULL, r6 NULL, r7 NULL, r8 NULL, r9 NULL, r10 NULL,
    r11 NULL, ... } OPTIONAL,
  ...,
  skips9 NULL OPTIONAL
}

Setup ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  h245Address Transport OPTIONAL,
  sourceAddress SEQUENCE OF Alias OPTIONAL,
  sourceInfo Endpoint,
  destinationAddress SEQUENCE OF Alias OPTIONAL,
  destCallSignalAddress Transport OPTIONAL,
  destExtraCallInfo SEQUENCE OF Alias OPTIONAL,
  destExtraCRV SEQUENCE OF INTEGER (0..65535) OPTIONAL,
  activeMC BOOLEAN,
  conferenceID OCTET STRING (SIZE (16)),
  conferenceGoal CHOICE { create NULL, join NULL, invite NULL, ... },
  callServices Qseries OPTIONAL,
  callType CHOICE { pointToPoint NULL, oneToN NULL, nToOne NULL, nToN NULL, ... },
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  skip5 NULL OPTIONAL,
  skip6 NULL OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  skip8 NULL OPTIONAL,
  skip9 NULL OPTIONAL,
  stop NULL OPTIONAL
}

Proceeding ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  destinationInfo Endpoint,
  h245Address Transport OPTIONAL,
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  skips4 NULL OPTIONAL
}

Alerting ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  destinationInfo Endpoint,
  h245Address Transport OPTIONAL,
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  skips9 NULL OPTIONAL
}

Connect ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  h245Address Transport OPTIONAL,
  destinationInfo Endpoint,
  conferenceID OCTET STRING (SIZE (16)),
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  skips10 NULL OPTIONAL
}

Facility ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  alternativeAddress Transport OPTIONAL,
  alternativeAliasAddress SEQUENCE OF Alias OPTIONAL,
  conferenceID OCTET STRING (SIZE (16)) OPTIONAL,
  reason CHOICE { routeCallToGatekeeper NULL, callForwarded NULL, routeCallToMC NULL, undefinedReason NULL, ... },
  ...,
  skip1 NULL OPTIONAL,
  skip2 NULL OPTIONAL,
  skip3 NULL OPTIONAL,
  skip4 NULL OPTIONAL,
  skip5 NULL OPTIONAL,
  skip6 NULL OPTIONAL,
  h245Address Transport OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  skips8 NULL OPTIONAL
}

Progress ::= SEQUENCE {
  protocolIdentifier OBJECT IDENTIFIER,
  destinationInfo Endpoint,
  h245Address Transport OPTIONAL,
  callIdentifier SEQUENCE { guid OCTET STRING (SIZE (16)), ... },
  h245SecurityMode CHOICE { nonStandard NonStandard, noSecurity NULL, tls Security, ipsec Security, ... } OPTIONAL,
  tokens SEQUENCE OF Unread OPTIONAL,
  cryptoTokens SEQUENCE OF Unread OPTIONAL,
  fastStart SEQUENCE OF CONTAINED Open OPTIONAL,
  ...,
  skips3 NULL OPTIONAL
}

-- a token ends what can be read: no value has this form
Unread ::= OCTET STRING (SIZE (65535))

Security ::= SEQUENCE {
  nonStandard NonStandard OPTIONAL, encryption ServiceMode, authentication ServiceMode, integrity ServiceMode, ... }

ServiceMode ::= CHOICE { nonStandard NonStandard, none NULL, default NULL, ... }

Transport ::= CHOICE {
  ipAddress SEQUENCE { ip OCTET STRING (SIZE (4)), port INTEGER (0..65535) },
  ipSourceRoute SEQUENCE {
    ip OCTET STRING (SIZE (4)), port INTEGER (0..65535), route SEQUENCE OF OCTET STRING (SIZE (4)),
    routing CHOICE { strict NULL, loose NULL, ... }, ... },
  ipxAddress SEQUENCE {
    node OCTET STRING (SIZE (6)), netnum OCTET STRING (SIZE (4)), port OCTET STRING (SIZE (2)) },
  ip6Address SEQUENCE { ip OCTET STRING (SIZE (16)), port INTEGER (0..65535), ... },
  netBios OCTET STRING (SIZE (16)),
  nsap OCTET STRING (SIZE (1..20)),
  nonStandardAddress NonStandard,
  ...
}

Alias ::= CHOICE {
  dialledDigits IA5String (SIZE (1..128)) (FROM ("0123456789#*,abc")),
  h323-ID SEQUENCE (SIZE (1..256)) OF INTEGER (0..65535),
  ...
}

NonStandard ::= SEQUENCE {
  identifier CHOICE { object OBJECT IDENTIFIER, h221NonStandard H221, ... }, data OCTET STRING }

H221 ::= SEQUENCE { country INTEGER (0..255), extension INTEGER (0..255), maker INTEGER (0..65535), ... }

Bare ::= SEQUENCE { nonStandardData NonStandard OPTIONAL, ... }

Mcu ::= SEQUENCE { nonStandardData NonStandard OPTIONAL, ..., skip1 NULL OPTIONAL }

Protocol ::= SEQUENCE { nonStandardData NonStandard OPTIONAL, ..., skips2 NULL OPTIONAL }

Endpoint ::= SEQUENCE {
  nonStandardData NonStandard OPTIONAL,
  vendor Vendor OPTIONAL,
  gatekeeper Bare OPTIONAL,
  gateway SEQUENCE { protocol SEQUENCE OF Protocols OPTIONAL, nonStandardData NonStandard OPTIONAL, ... } OPTIONAL,
  mcu Mcu OPTIONAL,
  terminal Bare OPTIONAL,
  mc BOOLEAN,
  undefinedNode BOOLEAN,
  ...,
  skips2 NULL OPTIONAL
}

Vendor ::= SEQUENCE {
  vendor H221, productId OCTET STRING (SIZE (1..256)) OPTIONAL, versionId OCTET STRING (SIZE (1..256)) OPTIONAL, ... }

Protocols ::= CHOICE {
  nonStandardData NonStandard, h310 Protocol, h320 Protocol, h321 Protocol, h322 Protocol, h323 Protocol,
    h324 Protocol, voice Protocol,
  t120-only Protocol, ... }

Qseries ::= SEQUENCE {
  q932 BOOLEAN, q951 BOOLEAN, q952 BOOLEAN, q953 BOOLEAN, q955 BOOLEAN, q956 BOOLEAN, q957 BOOLEAN,
  q954 SEQUENCE { conferenceCalling BOOLEAN, threePartyService BOOLEAN, ... }, ... }

RasMessage ::= CHOICE {
  gatekeeperRequest NULL,
  gatekeeperConfirm GatekeeperConfirm,
  gatekeeperReject NULL,
  registrationRequest RegistrationRequest,
  registrationConfirm RegistrationConfirm,
  registrationReject NULL,
  unregistrationRequest UnregistrationRequest,
  unregistrationConfirm NULL,
  unregistrationReject NULL,
  admissionRequest NULL,
  admissionConfirm AdmissionConfirm,
  admissionReject NULL,
  bandwidthRequest NULL,
  bandwidthConfirm NULL,
  bandwidthReject NULL,
  disengageRequest NULL,
  disengageConfirm NULL,
  disengageReject NULL,
  locationRequest NULL,
  locationConfirm LocationConfirm,
  locationReject NULL,
  infoRequest NULL,
  infoRequestResponse NULL,
  nonStandardMessage NULL,
  unknownMessageResponse NULL,
  ...
}

Seconds ::= INTEGER (1..4294967295)

Name ::= SEQUENCE (SIZE (1..128)) OF INTEGER (0..65535)

GatekeeperConfirm ::= SEQUENCE {
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OBJECT IDENTIFIER,
  nonStandardData NonStandard OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  rasAddress Transport,
  ...,
  stop NULL OPTIONAL
}

RegistrationRequest ::= SEQUENCE {
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OBJECT IDENTIFIER,
  nonStandardData NonStandard OPTIONAL,
  discoveryComplete BOOLEAN,
  callSignalAddress SEQUENCE OF Transport,
  rasAddress SEQUENCE OF Transport,
  terminalType Endpoint,
  terminalAlias SEQUENCE OF Alias OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  endpointVendor Vendor,
  ...,
  skip1 NULL OPTIONAL,
  timeToLive Seconds OPTIONAL,
  stop NULL OPTIONAL
}

RegistrationConfirm ::= SEQUENCE {
  requestSeqNum INTEGER (1..65535),
  protocolIdentifier OBJECT IDENTIFIER,
  nonStandardData NonStandard OPTIONAL,
  callSignalAddress SEQUENCE OF Transport,
  terminalAlias SEQUENCE OF Alias OPTIONAL,
  gatekeeperIdentifier Name OPTIONAL,
  endpointIdentifier Name,
  ...,
  skip1 NULL OPTIONAL,
  timeToLive Seconds OPTIONAL,
  stop NULL OPTIONAL
}

AdmissionConfirm ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  bandWidth INTEGER (0..4294967295),
  callModel CHOICE { direct NULL, gatekeeperRouted NULL, ... },
  destCallSignalAddress Transport,
  irrFrequency NULL OPTIONAL,
  nonStandardData NULL OPTIONAL
}

LocationConfirm ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  callSignalAddress Transport,
  rasAddress Transport,
  nonStandardData NULL OPTIONAL
}

UnregistrationRequest ::= SEQUENCE {
  extended NULL OPTIONAL,
  requestSeqNum INTEGER (1..65535),
  callSignalAddress SEQUENCE OF Transport,
  endpointAlias NULL OPTIONAL,
  nonStandardData NULL OPTIONAL,
  endpointIdentifier NULL OPTIONAL
}

END
"""

H245 = """
H245 DEFINITIONS AUTOMATIC TAGS ::= BEGIN

ControlMessage ::= CHOICE { request Request, response Response, command NULL, indication NULL, ... }

Request ::= CHOICE {
  q0 NULL, q1 NULL, q2 NULL, openLogicalChannel Open, q4 NULL, q5 NULL, q6 NULL, q7 NULL, q8 NULL, q9 NULL, q10 NULL,
  ... }

Response ::= CHOICE {
  p0 NULL, p1 NULL, p2 NULL, p3 NULL, p4 NULL, openLogicalChannelAck OpenAck, p6 NULL, p7 NULL, p8 NULL, p9 NULL,
  p10 NULL, p11 NULL, p12 NULL, p13 NULL, p14 NULL, p15 NULL, p16 NULL, p17 NULL, p18 NULL, ... }

Number ::= INTEGER (1..65535)

Open ::= SEQUENCE {
  forwardLogicalChannelNumber Number,
  forward SEQUENCE {
    portNumber INTEGER (0..65535) OPTIONAL,
    dataType DataType,
    multiplex CHOICE { h222 H222, h223 H223, v76 V76, ..., h2250 Channel, none NULL },
    ..., skips2 NULL OPTIONAL },
  reverse SEQUENCE {
    dataType DataType,
    multiplex CHOICE { h223 H223, v76 V76, ..., h2250 Channel } OPTIONAL,
    ..., skips2 NULL OPTIONAL } OPTIONAL,
  ...,
  separateStack Access OPTIONAL,
  stop NULL OPTIONAL
}

OpenAck ::= SEQUENCE {
  forwardLogicalChannelNumber Number,
  reverse SEQUENCE {
    reverseLogicalChannelNumber Number,
    portNumber INTEGER (0..65535) OPTIONAL,
    multiplex CHOICE { h222 H222, ..., h2250 Channel } OPTIONAL,
    ..., skip1 NULL OPTIONAL } OPTIONAL,
  ...,
  separateStack Access OPTIONAL,
  forwardMultiplexAck CHOICE { h2250 ChannelAck, ... } OPTIONAL,
  stop NULL OPTIONAL
}

H223 ::= SEQUENCE {
  adaptationLayerType CHOICE {
    nonStandard NonStandard, al1Framed NULL, al1NotFramed NULL, al2WithoutSequenceNumbers NULL,
    al2WithSequenceNumbers NULL,
    al3 SEQUENCE { controlFieldOctets INTEGER (0..2), sendBufferSize INTEGER (0..16777215) }, ... },
  segmentableFlag BOOLEAN,
  ...
}

V76 ::= SEQUENCE {
  hdlcParameters SEQUENCE {
    crcLength CHOICE { crc8bit NULL, crc16bit NULL, crc32bit NULL, ... }, n401 INTEGER (1..4095),
    loopbackTestProcedure BOOLEAN, ... },
  suspendResume CHOICE {
    noSuspendResume NULL, suspendResumewAddress NULL, suspendResumewoAddress NULL, ... },
  uIH BOOLEAN,
  mode CHOICE {
    eRM SEQUENCE {
      windowSize INTEGER (1..127), recovery CHOICE { rej NULL, sREJ NULL, mSREJ NULL, ... }, ... },
    uNERM NULL, ... },
  v75Parameters SEQUENCE { audioHeaderPresent BOOLEAN, ... },
  ...
}

-- the international number is a NumericString, four bits a digit too
Q2931Address ::= SEQUENCE {
  address CHOICE {
    internationalNumber IA5String (SIZE (1..16)) (FROM ("0123456789#*,abc")), nsapAddress OCTET STRING (SIZE (1..20)),
    ... },
  subaddress OCTET STRING (SIZE (1..20)) OPTIONAL,
  ...
}

H222 ::= SEQUENCE {
  resourceID INTEGER (0..65535), subChannelID INTEGER (0..8191), pcr-pid INTEGER (0..8191) OPTIONAL,
  programDescriptors OCTET STRING OPTIONAL, streamDescriptors OCTET STRING OPTIONAL, ... }

Channel ::= SEQUENCE {
  extended NULL OPTIONAL,
  nonStandard SEQUENCE OF NonStandard OPTIONAL,
  sessionID INTEGER (0..255),
  associatedSessionID INTEGER (1..255) OPTIONAL,
  mediaChannel Transport OPTIONAL,
  mediaGuaranteedDelivery BOOLEAN OPTIONAL,
  mediaControlChannel Transport OPTIONAL,
  mediaControlGuaranteedDelivery NULL OPTIONAL,
  silenceSuppression NULL OPTIONAL,
  destination NULL OPTIONAL,
  dynamicRTPPayloadType NULL OPTIONAL,
  mediaPacketization NULL OPTIONAL
}

ChannelAck ::= SEQUENCE {
  nonStandard SEQUENCE OF NonStandard OPTIONAL,
  sessionID INTEGER (1..255) OPTIONAL,
  mediaChannel Transport OPTIONAL,
  mediaControlChannel Transport OPTIONAL,
  dynamicRTPPayloadType INTEGER (96..127) OPTIONAL,
  ...,
  skips2 NULL OPTIONAL
}

Access ::= SEQUENCE {
  distribution CHOICE { unicast NULL, multicast NULL, ... } OPTIONAL,
  networkAddress CHOICE {
    q2931Address Q2931Address, e164Address IA5String (SIZE (1..128)) (FROM ("0123456789#*,abc")),
    localAreaAddress Transport, ... },
  associateConference BOOLEAN,
  externalReference OCTET STRING (SIZE (1..255)) OPTIONAL,
  ...,
  skip1 NULL OPTIONAL
}

Transport ::= CHOICE { unicastAddress Unicast, multicastAddress Multicast, ... }

Ip4 ::= SEQUENCE { network OCTET STRING (SIZE (4)), tsapIdentifier INTEGER (0..65535), ... }

Ip6 ::= SEQUENCE { network OCTET STRING (SIZE (16)), tsapIdentifier INTEGER (0..65535), ... }

Unicast ::= CHOICE {
  iPAddress Ip4,
  iPXAddress SEQUENCE {
    node OCTET STRING (SIZE (6)), netnum OCTET STRING (SIZE (4)), tsapIdentifier OCTET STRING (SIZE (2)), ... },
  iP6Address Ip6,
  netBios OCTET STRING (SIZE (16)),
  iPSourceRouteAddress SEQUENCE {
    routing CHOICE { strict NULL, loose NULL }, network OCTET STRING (SIZE (4)), tsapIdentifier INTEGER (0..65535),
    route SEQUENCE OF OCTET STRING (SIZE (4)), ... },
  ...
}

Multicast ::= CHOICE { iPAddress Ip4, iP6Address Ip6, ... }

NonStandard ::= SEQUENCE {
  identifier CHOICE {
    object OBJECT IDENTIFIER,
    h221NonStandard SEQUENCE { country INTEGER (0..255), extension INTEGER (0..255), maker INTEGER (0..65535) } },
  data OCTET STRING
}

DataType ::= CHOICE {
  nonStandard NonStandard, nullData NULL, videoData Video, audioData Audio, data Data,
  encryptionData CHOICE { nonStandard NonStandard, h233Encryption NULL, ... }, ... }

Video ::= CHOICE {
  nonStandard NonStandard,
  h261 SEQUENCE {
    qcifMPI INTEGER (1..4) OPTIONAL, cifMPI INTEGER (1..4) OPTIONAL, b1 BOOLEAN, maxBitRate INTEGER (1..19200),
    b2 BOOLEAN, ..., skip1 NULL OPTIONAL },
  h262 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
    b10 BOOLEAN, b11 BOOLEAN, videoBitRate INTEGER (0..1073741823) OPTIONAL,
    vbvBufferSize INTEGER (0..262143) OPTIONAL, samplesPerLine INTEGER (0..16383) OPTIONAL,
    linesPerFrame INTEGER (0..16383) OPTIONAL, framesPerSecond INTEGER (0..15) OPTIONAL,
    luminanceSampleRate INTEGER (0..4294967295) OPTIONAL, ..., skip1 NULL OPTIONAL },
  h263 SEQUENCE {
    sqcifMPI INTEGER (1..32) OPTIONAL, qcifMPI INTEGER (1..32) OPTIONAL, cifMPI INTEGER (1..32) OPTIONAL,
    cif4MPI INTEGER (1..32) OPTIONAL, cif16MPI INTEGER (1..32) OPTIONAL, maxBitRate INTEGER (1..192400), b1 BOOLEAN,
    b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, hrd-B INTEGER (0..524287) OPTIONAL,
    bppMaxKb INTEGER (0..65535) OPTIONAL, ..., skips8 NULL OPTIONAL },
  is11172 SEQUENCE {
    b1 BOOLEAN, videoBitRate INTEGER (0..1073741823) OPTIONAL, vbvBufferSize INTEGER (0..262143) OPTIONAL,
    samplesPerLine INTEGER (0..16383) OPTIONAL, linesPerFrame INTEGER (0..16383) OPTIONAL,
    pictureRate INTEGER (0..15) OPTIONAL, luminanceSampleRate INTEGER (0..4294967295) OPTIONAL, ...,
    skip1 NULL OPTIONAL },
  ...
}

Frames ::= INTEGER (1..256)

Audio ::= CHOICE {
  nonStandard NonStandard, g711Alaw64k Frames, g711Alaw56k Frames, g711Ulaw64k Frames, g711Ulaw56k Frames,
  g722-64k Frames, g722-56k Frames, g722-48k Frames, g7231 SEQUENCE { frames Frames, silenceSuppression BOOLEAN },
  g728 Frames, g729 Frames, g729AnnexA Frames,
  is11172 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN,
    bitRate INTEGER (1..448), ... },
  is13818 SEQUENCE {
    b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
    b10 BOOLEAN, b11 BOOLEAN, b12 BOOLEAN, b13 BOOLEAN, b14 BOOLEAN, b15 BOOLEAN, b16 BOOLEAN, b17 BOOLEAN,
    b18 BOOLEAN, b19 BOOLEAN, b20 BOOLEAN, bitRate INTEGER (1..1130), ... },
  ...
}

Data ::= SEQUENCE {
  application CHOICE {
    nonStandard NonStandard, t120 DataProtocol, dsm-cc DataProtocol, userData DataProtocol,
    t84 SEQUENCE {
      protocol DataProtocol,
      profile CHOICE {
        unrestricted NULL,
        restricted SEQUENCE {
          b1 BOOLEAN, b2 BOOLEAN, b3 BOOLEAN, b4 BOOLEAN, b5 BOOLEAN, b6 BOOLEAN, b7 BOOLEAN, b8 BOOLEAN, b9 BOOLEAN,
          b10 BOOLEAN, b11 BOOLEAN, b12 BOOLEAN, b13 BOOLEAN, b14 BOOLEAN, b15 BOOLEAN, b16 BOOLEAN, b17 BOOLEAN,
          b18 BOOLEAN, b19 BOOLEAN, ... } } },
    t434 DataProtocol, h224 DataProtocol,
    nlpid SEQUENCE { protocol DataProtocol, nlpidData OCTET STRING },
    dsvdControl NULL, h222DataPartitioning DataProtocol, ... },
  maxBitRate INTEGER (0..4294967295),
  ...
}

DataProtocol ::= CHOICE {
  nonStandard NonStandard, v14buffered NULL, v42lapm NULL, hdlc NULL, h310SeparateVC NULL, h310SingleVC NULL,
  transparent NULL, ..., skip1 NULL, skip2 NULL, skip3 NULL, separateLANStack NULL }

END
"""
